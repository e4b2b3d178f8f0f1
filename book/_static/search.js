// Excerpts of a search come from the text of a page, not from its list of contents.
if (typeof Search !== "undefined") {
  const original = Search.htmlToText;
  Search.htmlToText = (html, anchor) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    const article = page.querySelector("article.bd-article");
    if (!article) return original(html, anchor);
    article.querySelectorAll("script, style, .headerlink, .cell_input, mjx-container").forEach((part) => part.remove());
    const place = anchor ? article.querySelector(anchor) : null;
    return (place || article).textContent.replace(/\s+/g, " ");
  };
}
