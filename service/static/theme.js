/* Light or dark before the first paint: what was chosen here last, else what the system prefers. */
"use strict";
(() => {
  const root = document.documentElement, system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    root.dataset.theme = localStorage.getItem("theme") ?? (system.matches ? "dark" : "light");
    document.dispatchEvent(new Event("themechange"));
  };
  apply();
  system.addEventListener("change", apply);
  document.addEventListener("click", (event) => {
    if (!event.target.closest("#theme")) return;
    localStorage.setItem("theme", root.dataset.theme === "dark" ? "light" : "dark");
    apply();
  });
})();
