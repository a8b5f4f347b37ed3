// Everything here makes a page more pleasant; no page needs it.

const status = document.getElementById("status");
const say = (text) => { if (status) status.textContent = text; };

// After a failed form the reader begins at the summary of what is wrong.
document.querySelector("[data-focus]")?.focus();

// A link to a field puts the cursor there.
for (const link of document.querySelectorAll(".summary a")) {
  link.addEventListener("click", (event) => {
    const field = document.getElementById(link.hash.slice(1));
    if (!field) return;
    event.preventDefault();
    field.focus();
  });
}

// Show and hide what stands in a field.
for (const button of document.querySelectorAll("[data-reveal]")) {
  const field = document.getElementById(button.dataset.reveal);
  const paint = () => {
    const shown = field.type !== "password";
    button.textContent = shown ? button.dataset.shown : button.dataset.unseen;
    button.setAttribute("aria-label", `${button.textContent}: ${field.labels[0]?.textContent ?? ""}`);
    return shown;
  };
  button.addEventListener("click", () => {
    field.type = field.type === "password" ? "text" : "password";
    say(paint() ? button.dataset.sayShown : button.dataset.sayUnseen);
  });
  // A shown password leaves as a password, so that the browser offers to keep it as one.
  if (field.type === "password") field.form?.addEventListener("submit", () => { field.type = "password"; });
  paint();
  button.hidden = false;
}

// Moments that pass: the server wrote a clock time, here it counts down.
const started = Date.now();
for (const node of document.querySelectorAll("[data-seconds]")) {
  const end = started + Number(node.dataset.seconds) * 1000;
  const after = document.getElementById(node.dataset.reveals ?? "");
  const tick = () => {
    const left = Math.max(0, Math.ceil((end - Date.now()) / 1000));
    if (left > 0) {
      const time = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
      if (node.dataset.left) node.textContent = node.dataset.left.replace("{time}", time);
      return;
    }
    clearInterval(timer);
    if (node.dataset.over) { node.textContent = node.dataset.over; say(node.dataset.over); }
    if (after) { after.hidden = false; node.hidden = true; }
  };
  const timer = setInterval(tick, 1000);
  tick();
}

// Whether what was sent has left is known a moment later: the page asks once more and shows what it is told, and what was typed
// stays.
const late = document.querySelector("[data-look]");
if (late && !document.querySelector(".trouble")) {
  setTimeout(async () => {
    const answer = await fetch(location.href).catch(() => null);
    if (!answer?.ok) return;
    const trouble = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector(".trouble");
    if (!trouble) return;
    document.querySelector("form.task")?.before(document.adoptNode(trouble));
    say(trouble.textContent);
  }, Number(late.dataset.look) * 1000);
}

// One press sends a form once; coming back to the page makes it ready again.
for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
}
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form")) delete form.dataset.sent;
});

// Buttons that print need a script, so they appear with it.
for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => print());
}
