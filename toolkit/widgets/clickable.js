// Shows HTML, and tells the kernel which of its drawings was clicked, and where.

/** The position of a click in the units of a drawing: those of an SVG's view box, or the pixels of an image's file. */
function position(drawing, event) {
  if (drawing instanceof SVGSVGElement) {
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(drawing.getScreenCTM().inverse());
    return { x, y };
  }
  const box = drawing.getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) * drawing.naturalWidth) / box.width,
    y: ((event.clientY - box.top) * drawing.naturalHeight) / box.height,
  };
}

function render({ model, el }) {
  el.classList.add("tk-clickable");
  const draw = () => { el.innerHTML = model.get("value"); };
  model.on("change:value", draw);
  draw();
  el.addEventListener("click", (event) => {
    const drawings = [...el.querySelectorAll("svg, img:not(.tk-still)")];
    const place = drawings.findIndex((drawing) => drawing.contains(event.target));
    if (place >= 0) model.send({ drawing: place, ...position(drawings[place], event) });
  });
  return () => model.off("change:value", draw);
}

export default { render };
