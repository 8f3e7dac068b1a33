// Two pictures of one image, one over the other, with an edge to move; what differs, on top.
const viewers = new Map();
(() => {
  const ZOOMS = [1, 2, 4, 8];
  const DIM = [17, 20, 23, 150]; // where the labels agree
  const UNSCORED = [74, 78, 88, 205];

  const picture = (panel, layer, candidate) => {
    const own = layer === "candidate" || layer === "disagreement";
    const pairs = [...panel.querySelectorAll("[data-candidate]")];
    const root = own ? pairs.find((pair) => pair.dataset.candidate === candidate) : panel;
    return root?.querySelector(`[data-layer="${layer}"] img`) ?? null;
  };

  const paint = (canvas, source) => {
    canvas.width = source.naturalWidth;
    canvas.height = source.naturalHeight;
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.drawImage(source, 0, 0);
    const pixels = pen.getImageData(0, 0, canvas.width, canvas.height);
    const data = pixels.data;
    for (let at = 0; at < data.length; at += 4) {
      if (data[at] > 150) data[at + 3] = 255; // differs: its own colour
      else data.set(data[at] > 50 ? UNSCORED : DIM, at);
    }
    pen.putImageData(pixels, 0, 0);
  };

  class Viewer {
    constructor(root, section) {
      this.root = root;
      this.section = section;
      this.candidate = section.querySelector("[data-candidate]").dataset.candidate;
      this.zoom = 0;
      this.find = (name) => root.querySelector(name);
      this.film = this.find(".film");
      [this.photo, this.under, this.over] = [new Image(), new Image(), new Image()];
      this.under.className = this.over.className = "over";
      this.canvas = document.createElement("canvas");
      this.canvas.setAttribute("role", "img");
      this.edge = document.createElement("div");
      this.edge.className = "edge";
      this.range = this.find(".swipe input");
      for (const name of [".which", ".left", ".right", ".differ", ".through"]) {
        this.find(name).addEventListener("change", () => this.draw());
      }
      this.range.addEventListener("input", () => this.swipe());
      for (const button of root.querySelectorAll(".zoom button")) {
        button.addEventListener("click", () => this.magnify(this.zoom + Number(button.value)));
      }
      this.find(".stage").addEventListener("keydown", (event) => this.key(event));
      this.film.addEventListener("pointerdown", (event) => this.drag(event));
      this.film.append(this.photo, this.under, this.over, this.canvas, this.edge);
      root.hidden = false;
    }

    choose(candidate) {
      this.candidate = candidate;
      const share = (panel) =>
        Number(picture(panel, "candidate", candidate)?.closest(".pair").dataset.agreement ?? 2);
      const panels = [...this.section.querySelectorAll(".panel")];
      panels.sort((one, other) => share(one) - share(other));
      this.section.append(...panels);
      const options = panels.map((panel) => new Option(panel.dataset.name, panel.dataset.name));
      this.find(".which").replaceChildren(...options);
      this.draw();
    }

    open(name) {
      this.find(".which").value = name;
      this.draw();
      this.root.scrollIntoView({ block: "start" });
      this.range.focus({ preventScroll: true });
    }

    draw() {
      const which = this.find(".which").value;
      const panel = [...this.section.querySelectorAll(".panel")].find(
        (each) => each.dataset.name === which,
      );
      this.lay(this.over, panel, this.find(".left").value, ".left-name");
      this.lay(this.under, panel, this.find(".right").value, ".right-name");
      const ground = picture(panel, "image") ?? panel.querySelector("img"); // it gives the size
      this.photo.src = ground.src;
      this.photo.alt = ""; // the pictures over it have the words
      this.film.classList.toggle("through", this.find(".through").checked);
      const differs = picture(panel, "disagreement", this.candidate);
      this.canvas.hidden = !this.find(".differ").checked || !differs;
      if (!this.canvas.hidden) {
        paint(this.canvas, differs);
        this.canvas.setAttribute("aria-label", differs.alt);
      }
      this.swipe();
      this.magnify(this.zoom);
    }

    lay(image, panel, layer, label) {
      const source = picture(panel, layer, this.candidate);
      image.hidden = !source;
      if (source) [image.src, image.alt] = [source.src, source.alt];
      const caption = source?.closest("figure").querySelector("figcaption").textContent;
      this.find(label).textContent = caption ?? "not in the record";
    }

    swipe() {
      const share = Number(this.range.value);
      this.over.style.clipPath = `inset(0 ${100 - share}% 0 0)`;
      this.under.style.clipPath = `inset(0 0 0 ${share}%)`;
      this.edge.style.left = `${share}%`;
      const names = [".left-name", ".right-name"].map((name) => this.find(name).textContent);
      this.range.setAttribute("aria-valuetext", `${share} % ${names[0]}, then ${names[1]}`);
    }

    magnify(step) {
      const [stage, before] = [this.find(".stage"), ZOOMS[this.zoom]];
      this.zoom = Math.max(0, Math.min(step, ZOOMS.length - 1));
      const scale = ZOOMS[this.zoom];
      const [x, y] = [stage.scrollLeft + stage.clientWidth / 2, stage.scrollTop + stage.clientHeight / 2];
      this.film.style.width = `${100 * scale}%`;
      this.film.classList.toggle("zoomed", this.zoom > 0);
      stage.scrollLeft = (x * scale) / before - stage.clientWidth / 2;
      stage.scrollTop = (y * scale) / before - stage.clientHeight / 2;
      this.find("output").textContent = `${scale}×`;
      const [less, more] = this.root.querySelectorAll(".zoom button");
      less.disabled = this.zoom === 0;
      more.disabled = this.zoom === ZOOMS.length - 1;
    }

    key(event) {
      const step = { "+": this.zoom + 1, "=": this.zoom + 1, "-": this.zoom - 1, 0: 0 }[event.key];
      if (step === undefined || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      this.magnify(step);
    }

    // At full view a drag moves the edge; zoomed in, the mouse moves the picture (touch scrolls).
    drag(event) {
      if (this.zoom > 0 && event.pointerType !== "mouse") return;
      const stage = this.find(".stage");
      const follow = (now) => {
        const box = this.film.getBoundingClientRect();
        if (this.zoom === 0) {
          this.range.value = (100 * (now.clientX - box.left)) / box.width;
          this.swipe();
        } else if (now !== event) {
          stage.scrollBy(-now.movementX, -now.movementY);
        }
      };
      const stop = new AbortController();
      const until = { signal: stop.signal };
      for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => stop.abort(), until);
      addEventListener("pointermove", follow, until);
      follow(event);
    }
  }

  for (const root of document.querySelectorAll(".viewer")) {
    const section = root.closest("section");
    const viewer = new Viewer(root, section);
    viewers.set(section, viewer);
    viewer.choose(viewer.candidate);
    for (const panel of section.querySelectorAll(".panel")) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Compare";
      button.setAttribute("aria-label", `Compare the pictures of ${panel.dataset.name}`);
      button.addEventListener("click", () => viewer.open(panel.dataset.name));
      panel.firstElementChild.append(button);
    }
  }
})();
