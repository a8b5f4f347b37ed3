// What the views of the app share: words, the status line, times, and errors as sentences.

export const $ = (id) => document.getElementById(id);
export const facts = $("words").dataset;

const lang = document.documentElement.lang === "en" ? "en-GB" : document.documentElement.lang; // the day before the month, as on all pages
const zone = { timeZone: "Europe/Istanbul" };

// word is a sentence of shell.html, by the name of its data attribute.
export const word = (name, args = {}) => Object.entries(args).reduce((text, [k, v]) => text.replace(`{${k}}`, v), facts[name] ?? "");

// say tells what changed, to the eye (above the view, until the next view) and to the screen reader.
export const say = (text, { seen = true } = {}) => {
  $("status").textContent = text;
  $("said").textContent = text;
  $("said").hidden = !seen || !text;
  if (seen && text) $("said").scrollIntoView({ block: "nearest" });
};

const errors = {
  offline: "errOffline", unavailable: "errUnavailable", internal: "errUnavailable", unproven: "errUnproven", clock: "errClock", blocked: "errBlocked", held: "errHeld",
  two_factor: "errTwoFactor", unknown: "errUnknown", decided: "errDecided", scanned: "errScanned", registered: "errRegistered", over: "errOver",
  number: "errNumber", many: "errMany", malformed: "errUnavailable", statement: "errDecided", replayed: "errUnavailable",
};
export const sentence = (refused) => word(errors[refused?.word] ?? (refused?.status === undefined ? "errStorage" : "errUnavailable"),
  refused?.until ? { date: moment(refused.until) } : {});

export const moment = (at) => new Date(at).toLocaleString(lang, { ...zone, dateStyle: lang === "tr" ? "short" : "medium", timeStyle: "short" });
export const clock = (at) => new Date(at).toLocaleTimeString(lang, { ...zone, hour: "2-digit", minute: "2-digit" });
export const left = (seconds) => `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;

// fill puts texts into the elements of a clone that ask for them by data-show.
export const fill = (node, texts) => {
  for (const [name, text] of Object.entries(texts)) for (const e of node.querySelectorAll(`[data-show="${name}"]`)) e.textContent = text;
};

// wrong marks a field of ours, or unmarks it where text is "".
export const wrong = (input, text) => {
  const field = input.closest(".field");
  let p = field.querySelector(".problem");
  if (!p) {
    p = document.createElement("p");
    p.className = "problem";
    p.append(document.createElement("span"));
    field.querySelector(".entry").before(p);
  }
  p.id ||= `${input.id}-problem`;
  p.querySelector("span").textContent = text;
  p.hidden = !text;
  field.classList.toggle("wrong", Boolean(text));
  const told = [text && p.id, field.querySelector(".hint")?.id].filter(Boolean).join(" ");
  if (text) input.setAttribute("aria-invalid", "true"); else input.removeAttribute("aria-invalid");
  if (told) input.setAttribute("aria-describedby", told); else input.removeAttribute("aria-describedby");
  if (text) { say(text, { seen: false }); input.focus(); }
};

// busy lets one press do one thing, and turns what is refused into a sentence.
export const busy = async (button, fn, failed = (refused) => say(sentence(refused))) => {
  if (button.dataset.busy) return;
  button.dataset.busy = "yes";
  try {
    await fn();
  } catch (refused) {
    await failed(refused);
  } finally {
    delete button.dataset.busy;
  }
};
