// Where this browser holds the device's key, the page signs by itself; else it asks every few seconds whether the device has answered.
// No page needs it: without it the page asks for itself again and the button continues.

const waiting = document.getElementById("device");
const status = document.getElementById("status");
const say = (text) => { if (status) status.textContent = text; };

const encode = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
const text = (value) => encode(new TextEncoder().encode(JSON.stringify(value)));

const open = () => new Promise((done, failed) => {
  const request = indexedDB.open("kapi", 1);
  request.onupgradeneeded = () => request.result.createObjectStore("device");
  request.onsuccess = () => done(request.result);
  request.onerror = () => failed(request.error);
});

// One readwrite transaction: two tabs never get one number.
const next = async (id) => {
  const db = await open();
  try {
    return await new Promise((done, failed) => {
      const t = db.transaction("device", "readwrite");
      const store = t.objectStore("device");
      let me;
      store.get("me").onsuccess = (event) => {
        me = event.target.result;
        if (!me || me.id !== id) { me = undefined; return; }
        me.ctr += 1;
        store.put(me, "me");
      };
      t.oncomplete = () => done(me);
      t.onerror = () => failed(t.error);
    });
  } finally {
    db.close();
  }
};

const keep = async (me) => {
  const db = await open();
  try {
    await new Promise((done, failed) => {
      const t = db.transaction("device", "readwrite");
      t.objectStore("device").put(me, "me");
      t.oncomplete = done;
      t.onerror = () => failed(t.error);
    });
  } finally {
    db.close();
  }
};

const sign = async (key, header, claims) => {
  const input = `${text(header)}.${text(claims)}`;
  const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, key, new TextEncoder().encode(input));
  return `${input}.${encode(signature)}`;
};

// A sign-in in the browser that is the device: nobody has to do anything.
const here = async (form) => {
  const { challenge, device, aud } = waiting.dataset;
  const me = await next(device);
  if (!me) return false;
  const code = document.createElement("input");
  code.type = "hidden";
  code.name = "code";
  code.value = await sign(me.privateKey, { alg: "ES256", typ: "kapi-approval+jwt", kid: me.id },
    { iss: me.id, aud, challenge, decision: "approve", door: "here", ctr: me.ctr, iat: JSON.parse(challenge).time });
  form.append(code);
  say(waiting.dataset.said);
  form.requestSubmit();
  return true;
};

const watch = (form) => {
  const state = new URL(form.action);
  state.pathname += "/state";
  const timer = setInterval(async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(state, { headers: { Accept: "application/json" }, cache: "no-store", redirect: "error" });
      if (!answer.ok) { clearInterval(timer); return; }
      if (!(await answer.json()).over) return;
      clearInterval(timer);
      say(waiting.dataset.answered);
      form.requestSubmit();
    } catch {
      // the network comes back, or the page asks for itself
    }
  }, 2500);
};

if (waiting) {
  const form = waiting.closest("form");
  let signed = false;
  // A failed statement leads back to this page: it is not tried twice.
  const tried = document.querySelector(".summary");
  if (!tried && globalThis.indexedDB && globalThis.crypto?.subtle) {
    try { signed = await here(form); } catch { signed = false; }
  }
  if (!signed && form.action.includes("/with/")) watch(form);
}

// Making this browser the registered device.
const pair = document.getElementById("pair");
if (pair && globalThis.indexedDB && globalThis.crypto?.subtle) {
  const said = document.getElementById("pair-said");
  pair.hidden = false;
  pair.addEventListener("click", async () => {
    pair.disabled = true;
    const { pairing, aud, name } = pair.dataset;
    try {
      const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
      const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", keys.publicKey);
      const proof = await sign(keys.privateKey, { alg: "ES256", typ: "kapi-register+jwt" }, { aud, pairing, iat: Number(pair.dataset.now) + Math.floor(performance.now() / 1000) });
      const answer = await fetch("/factors/device/v1/register", {
        method: "POST", credentials: "omit", headers: { "Content-Type": "application/json", "Kapi-App": "web/1.0.0" },
        body: JSON.stringify({ pairing, name: name || "Browser", platform: "web", app_version: "1.0.0", key: { kty, crv, x, y }, proof }),
      });
      if (answer.status !== 201) throw new Error(String(answer.status));
      const { id, name: called } = await answer.json();
      await keep({ id, name: called, privateKey: keys.privateKey, publicKey: keys.publicKey, ctr: 0 });
      said.textContent = pair.dataset.done;
      location.assign(pair.dataset.next);
    } catch {
      said.textContent = pair.dataset.failed;
      pair.disabled = false;
    }
  });
}
