// The key app: codes of the e-Government Key and of whatever else speaks RFC 6238. It works without a network and without a
// registered device.

import { $, busy, fill, say, word, wrong } from "./page.js";
import { addCode, codes, dropCode } from "./store.js";
import { base32, code, entry } from "./totp.js";

export const keyApp = ({ now }) => {
  let list = [], timer = 0;

  const show = async () => {
    list = await codes();
    $("code-list").replaceChildren(...list.map((e) => {
      const node = $("code").content.firstElementChild.cloneNode(true);
      fill(node, { label: e.label, issuer: e.issuer });
      const drop = node.querySelector("[data-do=drop]"), sure = node.querySelector(".actions");
      drop.setAttribute("aria-label", word("removeCode", { name: e.label }));
      drop.addEventListener("click", () => { drop.hidden = true; sure.hidden = false; sure.querySelector("button").focus(); });
      node.querySelector("[data-do=drop-no]").addEventListener("click", () => { drop.hidden = false; sure.hidden = true; drop.focus(); });
      node.querySelector("[data-do=drop-yes]").addEventListener("click", (event) => busy(event.target, async () => {
        await dropCode(e.id);
        await show();
        say(word("saidCodeRemoved"));
        document.querySelector("h1").focus();
      }));
      return node;
    }));
    $("no-codes").hidden = list.length > 0;
    await tick();
  };

  const tick = async () => {
    for (const [i, e] of list.entries()) {
      const node = $("code-list").children[i];
      const c = await code(e, now());
      if (node) fill(node, { code: `${c.code.slice(0, -3)} ${c.code.slice(-3)}`, left: word("seconds", { n: c.left }) });
    }
  };

  const add = async (found) => {
    await addCode(await entry(found));
    say(word("saidCodeAdded"));
  };

  $("code-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const { label, seed } = event.target.elements;
    const bytes = base32(seed.value);
    wrong(label, "");
    wrong(seed, "");
    if (!label.value.trim()) { wrong(label, word("errName")); return; }
    if (!bytes) { wrong(seed, word("errSeed")); return; }
    busy(event.target, async () => {
      await add({ label: label.value.trim(), issuer: "", digits: 6, period: 30, algorithm: "SHA1", seed: bytes });
      event.target.reset();
      await show();
      document.querySelector("h1").focus();
    });
  });

  return {
    add,
    enter: async () => { timer = setInterval(tick, 1000); await show(); },
    leave: () => { clearInterval(timer); $("code-form").reset(); },
  };
};
