"use strict";
// Without this script every candidate is shown below the other; with it one is chosen.
(() => {
  const picker = document.getElementById("candidate");
  if (picker) {
    const show = () => {
      for (const pair of document.querySelectorAll("[data-candidate]")) {
        pair.hidden = pair.dataset.candidate !== picker.value;
      }
    };
    picker.addEventListener("change", show);
    picker.closest(".picker").hidden = false;
    show();
  }
  // Paper has nothing to click on.
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
})();
