// What the app keeps beside the device's key, in the IndexedDB database "kapi-app", version 1:
// "codes" (by id): the accounts of the key app, {id, label, issuer, digits, period, algorithm, key}; key is an HMAC CryptoKey that cannot
// be exported, so the seed cannot be read back from here. "settings" (keys given from outside): lang, asked.

const database = () => new Promise((done, failed) => {
  const request = indexedDB.open("kapi-app", 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore("codes", { keyPath: "id" });
    request.result.createObjectStore("settings");
  };
  request.onsuccess = () => done(request.result);
  request.onerror = () => failed(request.error);
});

const ask = async (store, mode, fn) => {
  const db = await database();
  try {
    return await new Promise((done, failed) => {
      const t = db.transaction(store, mode);
      const request = fn(t.objectStore(store));
      t.oncomplete = () => done(request.result);
      t.onerror = t.onabort = () => failed(t.error);
    });
  } finally {
    db.close();
  }
};

export const codes = () => ask("codes", "readonly", (s) => s.getAll());
export const addCode = (entry) => ask("codes", "readwrite", (s) => s.put(entry));
export const dropCode = (id) => ask("codes", "readwrite", (s) => s.delete(id));
export const setting = (name) => ask("settings", "readonly", (s) => s.get(name));
export const set = (name, value) => ask("settings", "readwrite", (s) => s.put(value, name));
