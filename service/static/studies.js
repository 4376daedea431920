/* The list of studies: find by name, and times that stay true. */
import { $ } from "./dom.js";
import { duration } from "./words.js";

const rows = [...document.querySelectorAll("#studies tbody tr")];

$("find")?.addEventListener("input", (event) => {
  const words = event.target.value.trim().toLowerCase();
  for (const row of rows) row.hidden = !row.dataset.name.toLowerCase().includes(words);
  $("none-found").hidden = rows.some((row) => !row.hidden);
});

function tick() {
  for (const node of document.querySelectorAll("time[data-ago]")) {
    node.textContent = `${duration(Math.max(0, (Date.now() - new Date(node.dateTime)) / 1000))} ago`;
  }
}
setInterval(tick, 10_000);
