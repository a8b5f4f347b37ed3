// Copying and downloading backup codes. Without a script they can be selected, printed or written down.
const say = (text) => { const status = document.getElementById("status"); if (status) status.textContent = text; };

const textOf = (list) => [
  list.dataset.title, "", ...[...list.querySelectorAll("code")].map((code, i) => `${i + 1}. ${code.textContent}`), "", list.dataset.note, "",
].join("\r\n");

for (const button of document.querySelectorAll("[data-copy]")) {
  const list = document.getElementById(button.dataset.copy);
  if (!list || !navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(textOf(list));
      say(button.dataset.said);
      button.textContent = button.dataset.said;
    } catch { getSelection().selectAllChildren(list); } // not allowed: they are marked, ready to be copied by hand
  });
}

for (const button of document.querySelectorAll("[data-download]")) {
  const list = document.getElementById(button.dataset.download);
  if (!list) continue;
  button.hidden = false;
  button.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([textOf(list)], { type: "text/plain;charset=utf-8" }));
    link.download = list.dataset.file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say(button.dataset.said);
  });
}
