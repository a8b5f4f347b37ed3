// Where this browser holds the device's key, the page signs by itself; else it asks every few seconds whether the device has answered.
// No page needs it: without it the page asks for itself again and the button continues.

const waiting = document.getElementById("device");
const status = document.getElementById("status");
const say = (text) => { if (status) status.textContent = text; };

// A sign-in in the browser that is the device: nobody has to do anything. The form is sent before another tab may take the next number.
const here = async (form) => {
  const { challenge, device, aud } = waiting.dataset;
  if (!challenge) return false;
  const key = await import(waiting.dataset.key);
  if (!key.possible() || (await key.load())?.id !== device) return false;
  return new Promise((done, failed) => {
    key.alone(async () => {
      const me = await key.next(device);
      if (!me) { done(false); return; }
      const code = document.createElement("input");
      code.type = "hidden";
      code.name = "code";
      code.value = await key.sign(me.privateKey, { typ: "kapi-approval+jwt", kid: me.id },
        { iss: me.id, aud, challenge, decision: "approve", door: "here", ctr: me.ctr, iat: JSON.parse(challenge).time });
      form.append(code);
      say(waiting.dataset.said);
      form.requestSubmit();
      done(true);
      await new Promise((rest) => setTimeout(rest, 15000)); // or until the next page has come
    }).catch(failed);
  });
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
  if (!tried) {
    try { signed = await here(form); } catch { signed = false; }
  }
  if (!signed && form.action.includes("/with/")) watch(form);
}

// Making this browser the registered device.
const pair = document.getElementById("pair");
const key = pair && await import(pair.dataset.key);
if (key?.possible()) {
  const said = document.getElementById("pair-said");
  pair.hidden = false;
  pair.addEventListener("click", async () => {
    pair.disabled = true;
    const { pairing, aud, name } = pair.dataset;
    try {
      const keys = await key.generate();
      const proof = await key.sign(keys.privateKey, { typ: "kapi-register+jwt" }, { aud, pairing, iat: Number(pair.dataset.now) + Math.floor(performance.now() / 1000) });
      const answer = await fetch("/factors/device/v1/register", {
        method: "POST", credentials: "omit", headers: { "Content-Type": "application/json", "Kapi-App": "web/1.0.0" },
        body: JSON.stringify({ pairing, name: name || "Browser", platform: "web", app_version: "1.0.0", key: keys.jwk, proof }),
      });
      if (answer.status !== 201) throw new Error(String(answer.status));
      const { id, name: called } = await answer.json();
      await key.save({ id, name: called, privateKey: keys.privateKey, publicKey: keys.publicKey, ctr: 0 });
      said.textContent = pair.dataset.done;
      location.assign(pair.dataset.next);
    } catch {
      said.textContent = pair.dataset.failed;
      pair.disabled = false;
    }
  });
}
