// The key with which this browser is somebody's registered device: made, kept, counted and used here and nowhere else. Pages that sign
// (the second step of a sign-in, the app and its service worker) load this one module.
//
// IndexedDB database "kapi", version 1, object store "device" (keys given from outside), under "me":
// {id, name, privateKey, publicKey, ctr}. privateKey cannot be exported, ctr is the last number used.

export const encode = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

const bytes = (text) => new TextEncoder().encode(text);
const part = (value) => encode(bytes(JSON.stringify(value)));

export const random = (n) => encode(crypto.getRandomValues(new Uint8Array(n)));
export const digest = async (text) => encode(await crypto.subtle.digest("SHA-256", bytes(text)));

// Without these a browser cannot be a device.
export const possible = () => Boolean(globalThis.indexedDB && globalThis.crypto?.subtle);

const database = () => new Promise((done, failed) => {
  const request = indexedDB.open("kapi", 1);
  request.onupgradeneeded = () => request.result.createObjectStore("device");
  request.onsuccess = () => done(request.result);
  request.onerror = () => failed(request.error);
});

// within runs fn(store, keep) in one transaction and returns what was kept, once it is on disk.
const within = async (mode, fn) => {
  const db = await database();
  try {
    return await new Promise((done, failed) => {
      const t = db.transaction("device", mode);
      let kept;
      fn(t.objectStore("device"), (value) => { kept = value; });
      t.oncomplete = () => done(kept);
      t.onerror = t.onabort = () => failed(t.error);
    });
  } finally {
    db.close();
  }
};

export const load = () => within("readonly", (store, keep) => {
  store.get("me").onsuccess = (event) => keep(event.target.result);
});

export const save = (me) => within("readwrite", (store) => { store.put(me, "me"); });

// forget drops the key of the device with this id, and no other.
export const forget = (id) => within("readwrite", (store) => {
  store.get("me").onsuccess = (event) => { if (event.target.result?.id === id) store.delete("me"); };
});

// next raises the counter and returns the device, or nothing if this browser is not the device id ("" = whichever it is). One readwrite
// transaction: two tabs never get one number.
export const next = (id) => within("readwrite", (store, keep) => {
  store.get("me").onsuccess = (event) => {
    const me = event.target.result;
    if (!me || id && me.id !== id) return;
    me.ctr += 1;
    store.put(me, "me");
    keep(me);
  };
});

// alone lets one tab (or the service worker) at a time take a number and send it: a lower number that arrives later would look like
// a copy of the key.
export const alone = (fn) => (navigator.locks ? navigator.locks.request("kapi-device", fn) : fn());

export const generate = async () => {
  const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
  const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", keys.publicKey);
  return { ...keys, jwk: { kty, crv, x, y } };
};

// sign makes a compact JWS (RFC 7515 §7.1), ES256.
export const sign = async (privateKey, header, claims) => {
  const input = `${part({ alg: "ES256", ...header })}.${part(claims)}`;
  return `${input}.${encode(await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, privateKey, bytes(input)))}`;
};
