// Elements of the class "tex" hold LaTeX; KaTeX draws it. Without scripts the LaTeX is read.
"use strict";
document.addEventListener("DOMContentLoaded", function () {
  const smallest = 0.7;
  for (const element of document.querySelectorAll(".tex")) {
    const display = element.classList.contains("display");
    katex.render(element.textContent, element, { displayMode: display, throwOnError: false });
    // one that is too wide is made smaller; if that is not enough, it scrolls
    const share = element.clientWidth / element.scrollWidth;
    if (display && element.clientWidth && share < 1) element.style.fontSize = Math.max(share, smallest) * 0.99 + "em";
  }
});
