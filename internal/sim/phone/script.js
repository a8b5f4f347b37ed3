// Renews the list every two seconds while somebody looks. The fragment is escaped by the server.
const list = document.getElementById("list");
let shown = list.innerHTML.trim();
setInterval(async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch("/list" + location.search);
    if (!answer.ok) return;
    const next = (await answer.text()).trim();
    if (next === shown) return;
    shown = next;
    list.innerHTML = next;
  } catch {
    // the phone is away; the next round finds out whether it is back
  }
}, 2000);
