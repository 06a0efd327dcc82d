// Formulas by KaTeX, and the button for light and dark. Without scripts the pages show LaTeX and follow the system.
"use strict";
(function () {
  const root = document.documentElement;
  let store = null;
  try { store = window.localStorage; } catch (error) { /* pages opened from a file may have none */ }
  const kept = store && store.getItem("theme");
  if (kept) root.dataset.theme = kept;

  document.addEventListener("DOMContentLoaded", function () {
    for (const element of document.querySelectorAll(".tex")) {
      const display = element.classList.contains("display");
      katex.render(element.textContent, element, { displayMode: display, throwOnError: false });
    }
    const button = document.querySelector(".bar button");
    button.hidden = false;
    button.addEventListener("click", function () {
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      if (store) store.setItem("theme", root.dataset.theme);
    });
  });
})();
