"use strict";
for (const figure of document.querySelectorAll(".compare")) {
  const stage = figure.querySelector(".stage");
  const range = figure.querySelector("input[type=range]");
  const show = () => figure.style.setProperty("--at", `${range.value}%`);
  range.addEventListener("input", show);
  show();

  const follow = (event) => {
    const place = stage.getBoundingClientRect();
    range.value = (100 * (event.clientX - place.left)) / place.width;
    show();
  };
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    follow(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (stage.hasPointerCapture(event.pointerId)) follow(event);
  });

  for (const select of figure.querySelectorAll("select")) {
    const choose = () => {
      const { side } = select.dataset;
      const chosen = select.selectedOptions[0];
      const image = stage.querySelector(`.${side}`);
      if (image.getAttribute("src") !== chosen.value) image.src = chosen.value;
      image.alt = chosen.dataset.alt;
      stage.querySelector(`.at-${side}`).textContent = chosen.textContent;
    };
    select.addEventListener("change", choose);
    choose(); // a browser may restore an earlier choice
  }
}
