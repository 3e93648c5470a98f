// Draws the figures of notebook pages with the copy of plotly.js beside this file. Pages without figures do not load it.
(() => {
  const figures = document.querySelectorAll(".plotly-figure");
  if (!figures.length) return;
  const draw = (box) => {
    const { data, layout, frames } = JSON.parse(box.querySelector("script").textContent);
    // As wide as the column; the figure's own width is that of a notebook's cell.
    const { width, ...rest } = layout;
    const place = box.appendChild(document.createElement("div"));
    Plotly.newPlot(place, data, { ...rest, autosize: true }, { responsive: true, displaylogo: false })
      .then(() => Plotly.addFrames(place, frames));
  };
  // A figure is drawn when it is about to be seen: some notebooks have ten.
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) { seen.unobserve(target); draw(target); }
    }
  }, { rootMargin: "600px" });
  const script = document.createElement("script");
  script.src = `${document.documentElement.dataset.content_root}_static/plotly.min.js`;
  script.onload = () => figures.forEach((box) => seen.observe(box));
  document.head.append(script);
})();
