// The service worker: the app opens without a network, and a push becomes a notification. A push says only that something
// waits; what it is is asked for with the device's key once the app is open. Started by /app/worker.js, which knows the addresses.

import { client, place } from "./api.js";
import { setting } from "./store.js";

const shell = "/app";

export const run = (key, { issuer, version, cache, files, icon, badge, words }) => {
  const api = client(key, { issuer, version });

  self.addEventListener("install", (event) => event.waitUntil((async () => {
    const box = await caches.open(cache);
    await box.addAll([new Request(shell, { cache: "reload" }), ...files]);
    await self.skipWaiting();
  })()));

  self.addEventListener("activate", (event) => event.waitUntil((async () => {
    for (const name of await caches.keys()) if (name.startsWith("kapi-app-") && name !== cache) await caches.delete(name);
    await self.clients.claim();
  })()));

  // The shell says nothing of anybody, so that it may be kept: in the language it was last read in.
  const page = async (request) => {
    const box = await caches.open(cache);
    try {
      const answer = await fetch(request);
      if (answer.ok && !answer.redirected) await box.put(shell, answer.clone());
      if (answer.status < 500) return answer;
    } catch {
      // no network
    }
    return (await box.match(shell)) ?? Response.error();
  };

  const file = async (request) => (await (await caches.open(cache)).match(request)) ?? fetch(request);

  self.addEventListener("fetch", (event) => {
    const { pathname, origin } = new URL(event.request.url);
    if (event.request.method !== "GET" || origin !== self.location.origin) return;
    if (event.request.mode === "navigate" && pathname === shell) event.respondWith(page(event.request));
    else if (files.includes(pathname)) event.respondWith(file(event.request));
  });

  const language = async () => {
    const chosen = await setting("lang").catch(() => "");
    return words[chosen] ? chosen : (navigator.language ?? "").startsWith("tr") ? "tr" : "en";
  };

  const windows = () => self.clients.matchAll({ type: "window", includeUncontrolled: true });

  const notice = async (data) => {
    let kind = "notice";
    try {
      if (data?.json().kind === "approval") kind = "approval";
    } catch {
      // whatever it was, something came, and a push without a notification is not allowed
    }
    const lang = await language();
    for (const w of await windows()) w.postMessage({ came: kind });
    await self.registration.showNotification(words[lang][kind].title, {
      body: words[lang][kind].body, lang, icon, badge, tag: kind, renotify: true, requireInteraction: kind === "approval", data: { kind },
    });
  };
  self.addEventListener("push", (event) => event.waitUntil(notice(event.data)));

  self.addEventListener("notificationclick", (event) => {
    event.notification.close();
    const approval = event.notification.data?.kind === "approval";
    event.waitUntil((async () => {
      const open = approval && (await windows()).find((w) => new URL(w.url).pathname === shell);
      if (!open) return self.clients.openWindow(approval ? `${shell}#push` : "/me/notices");
      open.postMessage({ open: "push" });
      return open.focus();
    })());
  });

  // The push service gave this browser another address: the server hears of it, unless pushes were switched off meanwhile.
  self.addEventListener("pushsubscriptionchange", (event) => event.waitUntil((async () => {
    if (!(await key.load())) return;
    const { web_push_key: server, push } = await api.me();
    if (push.kind !== "webpush" || !server) return;
    const fresh = event.newSubscription ?? await self.registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: server });
    await api.push(place(key, fresh));
  })()));
};
