// The device API (docs/openapi/device.yaml): each request proves itself with the key of this browser, and each answer that is no success
// is a Refused, whose word errors.js turns into a sentence.

const base = "/factors/device/v1";

export class Refused extends Error {
  constructor(status, problem, after) {
    const word = String(problem?.type ?? "").replace("urn:kapi:device:", "") || "unavailable";
    super(word);
    Object.assign(this, { status, word, after: after ? Number(after) : 0, link: problem?.link, until: problem?.until });
  }
}

// client speaks for the key module given, to one issuer.
export const client = (key, { issuer, version }) => {
  let ahead = 0; // seconds that the server's clock is ahead of this one
  const now = () => Math.floor(Date.now() / 1000) + ahead;

  // heard takes the server's clock from an answer: a phone's may be wrong.
  const heard = (answer) => {
    const date = Date.parse(answer.headers.get("Date") ?? "");
    if (date) ahead = Math.round((date - Date.now()) / 1000);
  };

  const send = async (method, path, text, proof) => {
    const headers = { Accept: "application/json", "Kapi-App": `web/${version}` };
    if (proof) headers["Kapi-Device"] = proof;
    if (text) headers["Content-Type"] = "application/json";
    let answer;
    try {
      answer = await fetch(base + path, { method, headers, body: text || undefined, credentials: "omit", cache: "no-store", redirect: "error" });
    } catch {
      throw new Refused(0, { type: "offline" });
    }
    heard(answer);
    const body = answer.status === 204 ? null : await answer.json().catch(() => null);
    if (!answer.ok) throw new Refused(answer.status, body, answer.headers.get("Retry-After"));
    return body;
  };

  // A clock that was wrong is known after the first answer; what is sent anew has a new moment and a new number.
  const twice = async (once) => {
    try {
      return await once();
    } catch (refused) {
      if (refused.word !== "clock") throw refused;
      return once();
    }
  };

  const call = async (me, method, path, text, ctr) => {
    const claims = { iss: me.id, aud: issuer, htm: method, htu: base + path, iat: now(), jti: key.random(16), bh: await key.digest(text) };
    if (ctr) claims.ctr = ctr;
    return send(method, path, text, await key.sign(me.privateKey, { typ: "kapi-device+jwt", kid: me.id }, claims));
  };

  const read = (path) => twice(async () => {
    const me = await key.load();
    if (!me) throw new Refused(401, { type: "unproven" });
    return call(me, "GET", path, "");
  });

  // change sends what body(me) makes; me.ctr is the number of this request.
  const change = (method, path, body) => twice(() => key.alone(async () => {
    const me = await key.next("");
    if (!me) throw new Refused(401, { type: "unproven" });
    return call(me, method, path, body ? JSON.stringify(await body(me)) : "", me.ctr);
  }));

  const statement = (me, challenge, decision, door, number) => key.sign(me.privateKey, { typ: "kapi-approval+jwt", kid: me.id },
    { iss: me.id, aud: issuer, challenge, decision, ...(number ? { number } : {}), door, ctr: me.ctr, iat: now() });

  return {
    now,
    heard,
    me: () => read("/me"),
    requests: async () => (await read("/requests")).requests,
    scan: (code) => change("POST", "/scan", () => ({ code })),
    approve: (request, door, number) => change("POST", `/requests/${request.id}/approve`,
      async (me) => ({ statement: await statement(me, request.challenge, "approve", door, number) })),
    deny: (request, door, reason) => change("POST", `/requests/${request.id}/deny`,
      async (me) => ({ reason, statement: await statement(me, request.challenge, "deny", door) })),
    push: (subscription) => change("PUT", "/push", () => subscription),
    leave: async () => {
      const me = await key.load();
      await change("DELETE", "/me");
      await key.forget(me.id);
    },
    register: (pairing, name) => twice(async () => {
      const keys = await key.generate();
      const proof = await key.sign(keys.privateKey, { typ: "kapi-register+jwt" }, { aud: issuer, pairing, iat: now() });
      const text = JSON.stringify({ pairing, name, platform: "web", app_version: version, key: keys.jwk, proof });
      const { id, name: called } = await send("POST", "/register", text);
      await key.save({ id, name: called, privateKey: keys.privateKey, publicKey: keys.publicKey, ctr: 0 });
    }),
  };
};

// place turns a subscription of the browser into what setPush takes.
export const place = (key, subscription) => ({
  kind: "webpush", endpoint: subscription.endpoint, p256dh: key.encode(subscription.getKey("p256dh")), auth: key.encode(subscription.getKey("auth")),
});
