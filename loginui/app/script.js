// The app: which view is shown, what it needs, and how it stands with this device. Every view is a section of shell.html; the part of
// the address behind # names it. What a link brought there (a pairing code, a QR code) is taken out of the address at once.

import { client } from "./api.js";
import { approvals } from "./approve.js";
import { keyApp } from "./codes.js";
import { pairing, pushes, settings, standing } from "./device.js";
import { $, busy, facts, moment, say, sentence, word } from "./page.js";
import { meaning, watch } from "./scan.js";
import { set, setting } from "./store.js";

const key = await import(facts.key);
const api = client(key, { issuer: facts.issuer, version: facts.version });

const title = document.title.split(" – ").at(-1);
const heading = document.querySelector("h1");
heading.tabIndex = -1;

let current, device, states = [];

// refresh learns how it stands and shows what fits.
const refresh = async () => {
  const now = await standing({ key, api, declined: () => setting("asked").catch(() => false) });
  ({ device, states } = now);
  if (matchMedia("(display-mode: browser)").matches && device) states.push("install");
  for (const e of document.querySelectorAll("[data-when]")) e.hidden = !e.dataset.when.split(" ").some((s) => states.includes(s));
  if (device) {
    $("home-device").textContent = word("this", {}) + " " + device.name;
    $("home-lost").textContent = device.lost ? word("lost", { date: moment(device.lost.removal) }) : "";
  }
  $("home-other").textContent = now.account?.device ?? "";
  return device;
};

// refused takes care of what changes the whole app; true = it is told already.
const refused = async (error) => {
  if (error.word === "app_too_old") { await show("update"); return true; }
  if (["unproven", "blocked", "two_factor"].includes(error.word)) { await go("home"); return true; }
  return false;
};

const push = pushes({ key, api });
const list = approvals({ api, refused });
const codes = keyApp({ now: api.now });
const go = async (name, given) => {
  history.replaceState(null, "", name === "home" ? "/app" : `#${name}`);
  await show(name, given);
};
const pair = pairing({ api, go, refused, registered: () => Boolean(device) });

// what a QR code said is taken to where it belongs.
const take = async (found) => {
  if (found.pair) return go("pair", found.pair);
  if (found.otp) {
    await codes.add(found.otp);
    const said = word("saidCodeAdded");
    await go("codes");
    return say(said);
  }
  if (!device) { await go("home"); return say(word("errUnproven")); }
  await go("approvals");
  try {
    await list.take(found.scan);
  } catch (error) {
    if (!(await refused(error))) say(sentence(error));
  }
};

const scan = (() => {
  let stop, turn = 0;
  const start = async () => {
    const mine = ++turn;
    const problem = (text) => { $("camera-problem").textContent = text; $("camera-problem").hidden = !text; $("camera-again").hidden = !text; $("camera").hidden = Boolean(text); };
    problem("");
    try {
      const stopThis = await watch($("camera"), facts.jsqr, async (text) => {
        const found = meaning(text, facts.issuer);
        if (!found) { say(word("errForeign")); return false; }
        await take(found);
        return true;
      });
      if (mine !== turn) stopThis(); else stop = stopThis;
    } catch (error) {
      if (mine === turn) problem(word(error?.name === "NotAllowedError" ? "errCamera" : "errNoCamera"));
    }
  };
  $("camera-again").addEventListener("click", start);
  return { enter: start, leave: () => { turn++; stop?.(); stop = undefined; } };
})();

const calm = $("home-waiting").textContent;
const home = {
  enter: async () => {
    if (!device) return;
    await push.mend(device).catch(() => {});
    const waiting = (await api.requests().catch(() => [])).length;
    $("home-waiting").textContent = waiting ? word("waiting", { n: waiting }) : calm;
  },
  leave: () => {},
};

const views = { home, approvals: list, scan, pair, codes, device: settings({ api, push, go, refresh, refused }), update: { enter: () => {}, leave: () => {} } };
const needDevice = ["approvals", "device"];

const show = async (name, given) => {
  const first = !current;
  views[current]?.leave();
  say("", { seen: false });
  $("said").hidden = true;
  current = name;
  for (const id of Object.keys(views)) $(id).hidden = id !== name;
  const section = $(name);
  heading.textContent = section.dataset.title;
  document.title = `${section.dataset.title} – ${title}`;
  if (!first) { heading.focus(); scrollTo(0, 0); }
  if (name === "home" && !first) await refresh().catch(refused);
  if (current === name) await views[name].enter(given);
};

// follow shows what the address names.
const follow = async () => {
  const [name, ...rest] = location.hash.slice(1).split("=");
  const given = rest.join("=");
  if (given) history.replaceState(null, "", "/app"); // neither in the history nor over a shoulder
  if (name === "scan" && given) return take({ scan: given });
  if (name === "pair" && given) return show("pair", given);
  if (name && name !== "push" && !views[name] && current) return; // such as the link past the header
  const view = name === "push" ? "approvals" : views[name] ? name : "home";
  if (needDevice.includes(view) && !device) await refresh();
  if (needDevice.includes(view) && !device) return go("home");
  return show(view, name === "push" ? name : undefined);
};

const enrol = async () => {
  if (!states.includes("signedout")) return pair.enrol();
  await set("asked", false);
  location.assign("/app/sign-in"); // and then the app asks
};
for (const button of document.querySelectorAll("[data-do=enrol]")) button.addEventListener("click", () => busy(button, enrol, async (error) => { if (!(await refused(error))) say(sentence(error)); }));
document.querySelector("[data-do=later]").addEventListener("click", async () => { await set("asked", true); await refresh(); heading.focus(); });
$("update-now").addEventListener("click", async () => {
  for (const name of await caches.keys()) await caches.delete(name);
  await (await navigator.serviceWorker?.getRegistration("/app"))?.unregister();
  location.replace("/app");
});

addEventListener("hashchange", follow);
addEventListener("beforeinstallprompt", (event) => {
  event.preventDefault();
  $("install").hidden = false;
  $("install").onclick = () => event.prompt();
});
document.addEventListener("visibilitychange", () => { if (!document.hidden && current === "approvals") list.look(); });
navigator.serviceWorker?.addEventListener("message", ({ data }) => {
  if (data.open === "push") go("approvals", "push");
  else if (data.came === "approval" && current === "approvals") list.look();
});
navigator.serviceWorker?.register("/app/worker.js", { scope: "/app", type: "module" }).catch(() => {}); // without it there are no pushes

// Nothing that may not be true is shown meanwhile, and the page does not move under a finger.
for (const e of document.querySelectorAll("[data-when]")) e.hidden = true;
$("app").hidden = false;
await set("lang", document.documentElement.lang).catch(() => {});
try {
  await refresh();
  await follow();
} catch (error) {
  if (!(await refused(error))) { await show("home"); say(sentence(error)); }
}
