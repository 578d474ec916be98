"use strict";
(() => {
  const all = (selector, inside = document) => Array.from(inside.querySelectorAll(selector));
  const counted = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;
  const form = document.querySelector("form.filters");
  const items = all(".case, tr.rule");
  for (const element of all("form.filters, .foldings, button.copy")) element.hidden = false;

  // filters
  const texts = new Map(items.map((item) => {
    const group = item.closest(".group");
    const heading = group ? group.querySelector("h3").textContent + group.querySelector(".why").textContent : "";
    return [item, (heading + item.textContent).toLowerCase()];
  }));
  const filter = () => {
    const { level, look, chapter, text } = form.elements;
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const item of items) {
      item.hidden = !((!level.value || item.dataset.level === level.value)
        && (!look.value || item.dataset.looks.split(" ").includes(look.value))
        && (!chapter.value || item.dataset.chapter === chapter.value)
        && words.every((word) => texts.get(item).includes(word)));
    }
    for (const group of all(".group")) group.hidden = !all(".case", group).some((item) => !item.hidden);
    for (const part of all("tbody.chapter")) part.hidden = !all("tr.rule", part).some((item) => !item.hidden);
    const shown = (kind) => items.filter((item) => item.matches(kind) && !item.hidden).length;
    const filtered = level.value || look.value || chapter.value || words.length;
    for (const more of all("details.more")) {
      more.hidden = !all(".case", more).some((item) => !item.hidden);
      more.open = Boolean(filtered);
    }
    form.elements.found.value = filtered ? `${counted(shown("tr.rule"), "rule")}, ${counted(shown(".case"), "case")}` : "";
  };
  for (const kind of ["input", "change"]) form.addEventListener(kind, filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  const clear = () => { form.reset(); filter(); };
  form.elements.clear.addEventListener("click", clear);

  // opening
  for (const button of all("[data-fold]")) {
    button.addEventListener("click", () => {
      for (const item of all(".case, .more")) item.open = button.dataset.fold === "open" && !item.hidden;
    });
  }
  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    if (target.hidden || target.closest("[hidden]")) clear();
    for (const one of [target.closest(".more"), target, target.querySelector("details")]) {
      if (one && one.matches("details")) one.open = true;
    }
    target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  reveal();
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = all("details:not([open])");
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of closed) one.open = false; });

  // copying
  for (const button of all("button.copy")) {
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = document.execCommand("copy") ? "copied" : "selected";
      }
      setTimeout(() => { button.textContent = "copy"; }, 2000);
    });
  }
})();
