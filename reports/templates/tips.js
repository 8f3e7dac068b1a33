"use strict";
// What a point of a plot says, beside it, under the pointer or the keyboard.
(() => {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true"); // the point's own label holds the same words
  document.body.append(tip);

  const show = (dot) => {
    const name = document.createElement("b");
    name.textContent = dot.dataset.name;
    tip.replaceChildren(name, dot.dataset.lines);
    tip.hidden = false;
    const at = dot.querySelector("circle").getBoundingClientRect();
    const room = document.documentElement.clientWidth - tip.offsetWidth - 12;
    const left = Math.max(12, Math.min(at.left + at.width / 2 + 14, room));
    const above = at.top > tip.offsetHeight + 12;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(above ? at.top - tip.offsetHeight - 2 : at.bottom + 4) + scrollY}px`;
  };
  const hide = () => (tip.hidden = true);

  for (const dot of document.querySelectorAll(".scatter .dot")) {
    dot.addEventListener("pointerenter", () => show(dot));
    dot.addEventListener("pointerleave", hide);
    dot.addEventListener("focus", () => show(dot));
    dot.addEventListener("blur", hide);
  }
  addEventListener("keydown", (event) => event.key === "Escape" && hide());
})();
