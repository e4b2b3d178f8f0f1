// A dark page is printed as a light one.
(() => {
  const page = document.documentElement.dataset;
  let shown = "";
  addEventListener("beforeprint", () => {
    shown = page.theme;
    page.theme = "light";
  });
  addEventListener("afterprint", () => (page.theme = shown));
})();
