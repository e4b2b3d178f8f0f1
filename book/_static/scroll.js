// A table that is wider than the page fades out where more of it is hidden, and can be moved with the arrow keys.
(() => {
  const WIDE = "article :is(.cell_output > .output.text_html, .pst-scrollable-table-container)";

  const name = (box) => {
    const number = (box.closest("figure") ?? box).querySelector(".caption-number");
    return `${number?.innerText.trim() || "Table"}, wider than the page`;
  };

  const look = (box) => {
    const hidden = box.scrollWidth - box.clientWidth;
    const more = [];
    if (box.scrollLeft > 1) more.push("left");
    if (hidden - box.scrollLeft > 1) more.push("right");
    if (more.length) {
      box.dataset.more = more.join(" ");
      box.style.setProperty("--tsbp-caption", `${box.querySelector("caption")?.offsetHeight ?? 0}px`);
      box.tabIndex = 0;
      box.setAttribute("role", "region");
      box.setAttribute("aria-label", name(box));
    } else if (box.dataset.more) {
      delete box.dataset.more;
      ["tabindex", "role", "aria-label"].forEach((attribute) => box.removeAttribute(attribute));
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    const sizes = new ResizeObserver((changes) =>
      new Set(changes.map((change) => change.target.closest(WIDE))).forEach(look),
    );
    document.querySelectorAll(WIDE).forEach((box) => {
      const table = box.querySelector("table");
      if (!table) return;
      [box, table].forEach((part) => sizes.observe(part));
      box.addEventListener("scroll", () => look(box), { passive: true });
    });
  });
})();
