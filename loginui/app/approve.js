// Mobile Approval: what waits for this device, shown exactly as it will be signed, with a typed number (or, for a scanned code, the
// question whether the screen is before you), and three answers: yes, no, and "this was not me".

import { $, busy, clock, fill, left, say, sentence, word, wrong } from "./page.js";

const actions = { signin: "actionSignin", two_factor: "actionTwoFactor", change: "actionChange", enrol: "actionEnrol", lost: "actionLost", recovery: "actionRecovery" };

export const approvals = ({ api, refused }) => {
  const shown = new Map(); // by id: {node, request, challenge}
  let door = "list", timer = 0, ticker = 0, open = false, asking = false, rest = 0;

  const drop = (id) => {
    shown.get(id)?.node.remove();
    shown.delete(id);
    $("no-requests").hidden = shown.size > 0;
  };

  const answered = (id, sentenceName) => {
    drop(id);
    say(word(sentenceName));
    $("approvals").querySelector("input, .up")?.focus();
  };

  const failed = (id) => async (error) => {
    if (["number", "decided", "over", "unknown", "statement"].includes(error.word)) drop(id);
    if (!(await refused(error))) say(sentence(error));
  };

  const add = (request, door) => {
    const challenge = JSON.parse(request.challenge);
    const node = $("request").content.firstElementChild.cloneNode(true);
    const qr = !request.number;
    fill(node, {
      service: challenge.service, action: word(actions[challenge.action] ?? "actionOther"), origin: challenge.origin,
      place: challenge.place || word("unknown"), browser: challenge.browser || word("unknown"), time: clock(challenge.time * 1000),
    });
    for (const e of node.querySelectorAll("[data-door]")) e.hidden = (e.dataset.door === "qr") !== qr;
    const input = node.querySelector("input"), form = node.querySelector("form");
    const name = `number-${request.id}`;
    input.id = name;
    input.disabled = qr;
    node.querySelector("label").htmlFor = name;
    node.querySelector(".hint").id = `${name}-hint`;
    input.setAttribute("aria-describedby", `${name}-hint`);
    node.setAttribute("aria-labelledby", `service-${request.id}`);
    node.querySelector("h2").id = `service-${request.id}`;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const number = input.value.trim();
      if (!qr && !/^[0-9]{2}$/.test(number)) { wrong(input, word("errTwoDigits")); return; }
      if (!qr) wrong(input, "");
      busy(form, async () => {
        await api.approve(request, qr ? "qr" : door, qr ? "" : number);
        answered(request.id, "saidApproved");
      }, failed(request.id));
    });
    for (const button of node.querySelectorAll("[data-deny]")) {
      button.addEventListener("click", () => busy(form, async () => {
        const notMe = button.dataset.deny === "not_me";
        await api.deny(request, qr ? "qr" : door, button.dataset.deny);
        if (notMe) for (const id of [...shown.keys()]) drop(id); // it ends all that waits
        answered(request.id, notMe ? "saidNotMe" : "saidDenied");
        $("after-not-me").hidden = !notMe;
      }, failed(request.id)));
    }
    shown.set(request.id, { node, request });
    $("requests").prepend(node);
    tick();
    return node;
  };

  // A wrong clock of the device does not matter: what counts is the server's.
  const tick = () => {
    for (const [id, { node, request }] of shown) {
      const rest = Math.ceil(request.expires_at - api.now());
      if (rest > 0) fill(node, { left: word("left", { time: left(rest) }) });
      else { drop(id); say(word("saidOver")); }
    }
  };

  const look = async () => {
    if (asking || document.hidden || Date.now() < rest) return;
    asking = true;
    try {
      const list = await api.requests();
      if (!open) return;
      const fresh = list.filter((r) => !shown.has(r.id));
      for (const id of [...shown.keys()]) if (!list.some((r) => r.id === id)) drop(id);
      for (const r of fresh.reverse()) add(r, door);
      if (fresh.length) say(word("saidNew"), { seen: false });
      $("no-requests").hidden = shown.size > 0;
    } catch (error) {
      if (error.word === "many") rest = Date.now() + error.after * 1000; // asked too often, as by two windows
      else if (!(await refused(error)) && error.word !== "offline") say(sentence(error));
    } finally {
      asking = false;
    }
  };

  return {
    look,
    enter: async (how) => {
      open = true;
      door = how === "push" ? "push" : "list";
      $("after-not-me").hidden = true;
      timer = setInterval(look, 3000);
      ticker = setInterval(tick, 1000);
      await look();
    },
    leave: () => {
      open = false;
      clearInterval(timer);
      clearInterval(ticker);
      for (const id of [...shown.keys()]) drop(id);
    },
    // take shows the request behind a QR code.
    take: async (code) => {
      const request = await api.scan(code);
      drop(request.id);
      add(request, "qr").querySelector("button").focus();
      $("no-requests").hidden = true;
    },
  };
};
