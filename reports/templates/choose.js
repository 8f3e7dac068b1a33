// Without this script all candidates and metrics are shown; with it one of each is chosen.
(() => {
  for (const picker of document.querySelectorAll("select[data-chooses]")) {
    const [section, kind] = [picker.closest("section"), picker.dataset.chooses];
    const show = () => {
      for (const part of section.querySelectorAll(`[data-${kind}]`)) {
        part.hidden = part.dataset[kind] !== picker.value;
      }
      if (kind === "candidate") viewers.get(section)?.choose(picker.value);
    };
    picker.addEventListener("change", show);
    picker.closest(".picker").hidden = false;
    show();
  }
  // Paper has nothing to click on.
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
    for (const part of document.querySelectorAll("[data-metric]")) part.hidden = false;
  });
})();
