// A link to an equation, figure, table or work shows it under the pointer, or when the link has the focus.
(() => {
  const WANTED = "div.math, figure, table, div.citation";
  const pages = new Map();
  let tip = null, link = null, timer = 0;

  const read = (address) => {
    if (address === location.href.split("#")[0]) return Promise.resolve(document);
    if (!pages.has(address)) {
      const text = fetch(address).then((answer) => (answer.ok ? answer.text() : Promise.reject(answer.status)));
      pages.set(address, text.then((html) => new DOMParser().parseFromString(html, "text/html")));
    }
    return pages.get(address);
  };

  const find = (page, name) => {
    const target = page.getElementById(name);
    if (!target || target.matches(WANTED)) return target;
    // the label of a table in Markdown, or of an equation, may stand just before it
    return target.matches("span:empty") && target.nextElementSibling?.matches(WANTED) ? target.nextElementSibling : null;
  };

  const hide = () => {
    clearTimeout(timer);
    tip?.remove();
    link?.removeAttribute("aria-describedby");
    tip = link = null;
  };

  const show = async (wanted) => {
    const [address, name] = wanted.href.split("#");
    const found = find(await read(address), decodeURIComponent(name));
    if (link !== wanted || !found || (found.matches("div.math") && !window.MathJax?.typesetPromise)) return;
    tip = document.createElement("div");
    tip.className = "tsbp-preview";
    tip.id = "tsbp-preview";
    tip.setAttribute("role", "tooltip");
    tip.append(document.importNode(found, true));
    tip.querySelectorAll("[id]").forEach((part) => part.removeAttribute("id"));
    tip.querySelectorAll(".headerlink").forEach((part) => part.remove());
    tip.querySelectorAll("a[href]").forEach((part) => (part.href = new URL(part.getAttribute("href"), address)));
    tip.querySelectorAll("img").forEach((part) => {
      part.loading = "eager";
      part.src = new URL(part.getAttribute("src"), address);
    });
    tip.addEventListener("pointerenter", () => clearTimeout(timer));
    tip.addEventListener("pointerleave", later);
    document.querySelector(".bd-content").append(tip);
    if (!tip.querySelector("mjx-container") && window.MathJax?.typesetPromise) await MathJax.typesetPromise([tip]);
    if (link !== wanted || !tip) return;
    const place = wanted.getBoundingClientRect();
    const below = innerHeight - place.bottom > Math.min(tip.offsetHeight + 8, place.top);
    tip.style.left = `${Math.max(8, Math.min(place.left, innerWidth - tip.offsetWidth - 24))}px`;
    tip.style[below ? "top" : "bottom"] = `${below ? place.bottom + 4 : innerHeight - place.top + 4}px`;
    tip.style.maxHeight = `${(below ? innerHeight - place.bottom : place.top) - 16}px`;
    wanted.setAttribute("aria-describedby", tip.id);
  };

  const soon = (wanted) => {
    if (wanted === link) return clearTimeout(timer);
    hide();
    link = wanted;
    timer = setTimeout(() => show(wanted).catch(() => {}), 250); // opened as a file, a page cannot read another one
  };
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(hide, 200);
  };

  addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("article.bd-article a.reference.internal[href*='#']").forEach((one) => {
      one.addEventListener("pointerenter", (event) => event.pointerType !== "touch" && soon(one));
      one.addEventListener("pointerleave", later);
      one.addEventListener("focus", () => one.matches(":focus-visible") && soon(one));
      one.addEventListener("blur", later);
    });
    addEventListener("keydown", (event) => event.key === "Escape" && hide());
    addEventListener("scroll", (event) => tip && !tip.contains(event.target) && hide(), true);
  });
})();
