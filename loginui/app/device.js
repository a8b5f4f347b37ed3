// This device: becoming the registered one, its settings, its pushes, and leaving.

import { place } from "./api.js";
import { $, busy, clock, moment, say, sentence, word, wrong } from "./page.js";

// nickname is a first guess at what the owner calls this device.
const nickname = () => {
  const agent = navigator.userAgent;
  const [, system] = [["iPhone", "iPhone"], ["iPad", "iPad"], ["Android", "Android"], ["Windows", "Windows"], ["Macintosh", "Mac"], ["Linux", "Linux"]].find(([sign]) => agent.includes(sign)) ?? [];
  const [, browser] = [["Firefox/", "Firefox"], ["Edg", "Edge"], ["Chrome/", "Chrome"], ["Safari/", "Safari"]].find(([sign]) => agent.includes(sign)) ?? [];
  return [browser, system].filter(Boolean).join(", ");
};

// pushes: what the browser, the person and the server say of them.
export const pushes = ({ key, api }) => {
  const manager = async () => (await navigator.serviceWorker.ready).pushManager;
  // An old subscription may be gone at the push service, or for another key of the server: a new one is surely neither.
  const subscribe = async (server) => {
    const m = await manager();
    await (await m.getSubscription())?.unsubscribe();
    await api.push(place(key, await m.subscribe({ userVisibleOnly: true, applicationServerKey: server })));
  };
  return {
    possible: (device) => Boolean(device.web_push_key) && "serviceWorker" in navigator && "PushManager" in globalThis && "Notification" in globalThis,
    on: async (device) => {
      if (await Notification.requestPermission() !== "granted") return false;
      await subscribe(device.web_push_key);
      return true;
    },
    off: async () => {
      await api.push({ kind: "none" });
      await (await (await manager()).getSubscription())?.unsubscribe();
    },
    // mend asks for a new address where the push service knows the old one no more.
    mend: async (device) => {
      if (device.push.kind === "webpush" && !device.push.reachable && Notification.permission === "granted") await subscribe(device.web_push_key);
    },
  };
};

// pairing is the view on which this browser becomes the registered device.
export const pairing = ({ api, go, refused, registered }) => {
  const form = $("pair-form"), code = form.elements.pairing, name = form.elements.device_name;

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const typed = code.value.replace(/[\s-]/g, "");
    wrong(name, "");
    wrong(code, "");
    if (!name.value.trim()) { wrong(name, word("errName")); return; }
    if (typed.length !== 26) { wrong(code, word("errPairing")); return; }
    busy(form, () => register(typed, name.value.trim()), async (error) => {
      if (["unknown", "malformed"].includes(error.word)) wrong(code, word("errPairing"));
      else if (!(await refused(error))) say(sentence(error));
    });
  });

  const register = async (pairingCode, called) => {
    if (registered()) return; // a link with somebody else's code must not make this their device and throw away its owner's key
    await api.register(pairingCode, called);
    navigator.storage?.persist?.(); // a key that the browser throws away is a device that is gone
    await go("device");
    say(word("saidRegistered"));
  };

  return {
    enter: (given) => {
      code.value = given ?? "";
      name.value ||= nickname();
      $("pair-start").hidden = Boolean(given);
    },
    leave: () => { code.value = ""; wrong(code, ""); wrong(name, ""); },
    // enrol gets a pairing code from the person's own page and uses it at once. Where that page wants something first (a fresh sign-in, a
    // stronger one), it says so itself.
    enrol: async () => {
      const page = "/me/security/device";
      const answer = await fetch(`${page}/add`, { method: "POST", headers: { "Content-Type": "application/x-www-form-urlencoded" }, body: "" });
      const made = answer.ok && new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("pair");
      if (!made) { location.assign(page); return; }
      await register(made.dataset.pairing, nickname() || made.dataset.name);
    },
  };
};

// settings is the view of the registered device.
export const settings = ({ api, key, push, go, refresh, refused }) => {
  let device;
  const fail = async (error) => { if (!(await refused(error))) say(sentence(error)); };

  const paint = () => {
    $("device-name").textContent = device.name;
    $("device-since").textContent = moment(device.since);
    $("device-used").textContent = device.last_use ? moment(device.last_use) : word("never");
    const on = device.push.kind !== "none", can = push.possible(device);
    const blocked = can && Notification.permission === "denied";
    $("device-push").textContent = word(on ? device.push.reachable ? "pushOn" : "pushGone" : blocked ? "pushDenied" : can ? "pushOff" : "pushNone");
    $("push-on").hidden = on && device.push.reachable || !can || blocked;
    $("push-off").hidden = !on;
    $("device-paused").hidden = !device.push.paused_until;
    $("device-paused").textContent = device.push.paused_until ? word("paused", { time: clock(device.push.paused_until) }) : "";
  };

  const again = async () => { device = await refresh(); if (device) paint(); };
  const sure = (yes) => { $("leave-sure").hidden = !yes; $("leave").hidden = yes; $(yes ? "leave-yes" : "leave").focus(); };

  $("push-on").addEventListener("click", (event) => busy(event.target, async () => {
    let said = "saidPushOn";
    try {
      if (!(await push.on(device))) said = "pushDenied";
    } catch (error) {
      if (error.word) throw error;
      said = "pushLater"; // the browser's push service cannot be reached
    }
    await again();
    say(word(said));
  }, fail));
  $("push-off").addEventListener("click", (event) => busy(event.target, async () => {
    await push.off();
    await again();
    say(word("saidPushOff"));
  }, fail));
  $("leave").addEventListener("click", () => sure(true));
  $("leave-no").addEventListener("click", () => sure(false));
  $("leave-yes").addEventListener("click", (event) => busy(event.target, async () => {
    await api.leave();
    await go("home");
    say(word("saidRemoved"));
  }, fail));

  return {
    enter: async () => {
      $("leave-sure").hidden = true;
      $("leave").hidden = false;
      await again();
      if (!device) return go("home");
    },
    leave: () => {},
  };
};

// home says how it stands, as the set of things that shell.html shows or hides by data-when.
export const standing = async ({ key, api, declined }) => {
  if (!key.possible()) return { states: ["impossible"] };
  const states = ["keys"];
  let device, account, failed;
  if (await key.load()) {
    try {
      device = await api.me();
    } catch (error) {
      failed = error;
    }
  }
  if (device) return { device, states: [...states, "registered", ...(device.lost ? ["lost"] : [])] };
  if (failed?.word === "app_too_old") throw failed;
  if (failed) states.push({ blocked: "blocked", two_factor: "twofactor", unproven: "gone" }[failed.word] ?? "offline");
  try {
    const answer = await fetch("/app/state", { cache: "no-store", redirect: "error" });
    api.heard(answer);
    if (!answer.ok) throw new Error(String(answer.status));
    account = await answer.json();
  } catch {
    return { states: [...new Set([...states, "offline"])] };
  }
  if (states.includes("offline") || states.includes("twofactor")) return { states };
  if (!account.signed_in) states.push("signedout");
  else if (!account.two_factor) states.push("off");
  else if (account.device) states.push("other");
  else states.push(await declined() ? "later" : "ask");
  return { account, states };
};

