// Security keys and passkeys. The form holds the challenge; the browser's answer goes into its hidden field and is sent as any form.
const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const ids = (list) => (list ?? []).map((one) => ({ ...one, id: bytes(one.id) }));

async function get(options) {
  const key = await navigator.credentials.get({
    publicKey: { ...options, challenge: bytes(options.challenge), allowCredentials: ids(options.allowCredentials) },
  });
  const { authenticatorData, clientDataJSON, signature, userHandle } = key.response;
  return {
    id: key.id, rawId: text(key.rawId), type: key.type, clientExtensionResults: {},
    response: {
      authenticatorData: text(authenticatorData), clientDataJSON: text(clientDataJSON), signature: text(signature),
      ...(userHandle?.byteLength ? { userHandle: text(userHandle) } : {}),
    },
  };
}

async function create(options) {
  const key = await navigator.credentials.create({
    publicKey: {
      ...options, challenge: bytes(options.challenge), user: { ...options.user, id: bytes(options.user.id) }, excludeCredentials: ids(options.excludeCredentials),
    },
  });
  return {
    id: key.id, rawId: text(key.rawId), type: key.type, clientExtensionResults: {},
    response: {
      attestationObject: text(key.response.attestationObject), clientDataJSON: text(key.response.clientDataJSON),
      transports: key.response.getTransports?.() ?? [],
    },
  };
}

for (const field of document.querySelectorAll("[data-webauthn]")) {
  const form = field.closest("form");
  const says = form?.querySelector("[data-webauthn-says]");
  if (!form) continue;
  const status = document.getElementById("status");
  const tell = (words) => { if (says) { says.textContent = words; says.hidden = !words; } };
  if (!window.PublicKeyCredential) tell(field.dataset.missing);
  let busy = false;
  form.addEventListener("submit", async (event) => {
    if (!window.PublicKeyCredential) return; // the server says what to do instead
    event.preventDefault();
    if (busy) return;
    busy = true;
    tell("");
    if (status) status.textContent = field.dataset.waiting;
    try {
      const { publicKey } = JSON.parse(field.dataset.options);
      const answer = field.dataset.webauthn === "create" ? await create(publicKey) : await get(publicKey);
      field.value = JSON.stringify(answer);
      form.submit();
    } catch (problem) { // given up, too slow, no such key, or a key that is registered already
      tell(problem.name === "InvalidStateError" && field.dataset.known ? field.dataset.known : field.dataset.failed);
      if (status) status.textContent = "";
      busy = false;
      delete form.dataset.sent; // so that the button may be pressed again
    }
  });
  addEventListener("pageshow", () => { busy = false; field.value = ""; });
}
