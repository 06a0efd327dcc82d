// The button for light and dark. Without scripts the pages follow the system.
"use strict";
(function () {
  const root = document.documentElement;
  let store = null;
  try {
    store = window.localStorage;
  } catch (error) {
    // a page that was opened from a file may have none
  }
  const kept = store && store.getItem("theme");
  if (kept) root.dataset.theme = kept;

  document.addEventListener("DOMContentLoaded", function () {
    const button = document.querySelector(".bar button");
    button.hidden = false;
    button.addEventListener("click", function () {
      const chosen = root.dataset.theme;
      const dark = chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
      root.dataset.theme = dark ? "light" : "dark";
      if (store) store.setItem("theme", root.dataset.theme);
    });
  });
})();
