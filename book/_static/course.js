// What every page needs besides the theme: scrolling regions that a keyboard can reach, and the
// landing page's figure.

function reachScrollers() {
  for (const region of document.querySelectorAll("div.math, .pst-scrollable-table-container, .bd-article pre, .cell_output .text_html")) {
    if (region.scrollWidth > region.clientWidth + 1) region.tabIndex = 0;
    else if (region.tabIndex === 0) region.removeAttribute("tabindex");
  }
}
addEventListener("resize", reachScrollers);
reachScrollers();

for (const figure of document.querySelectorAll("figure.banding")) {
  const { start } = await import("./banding.js");
  start(figure);
}
