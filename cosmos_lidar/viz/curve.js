// Values under the pointer on a training curve. The curve itself is in the page as SVG and needs no script.
function attachCurve(plot) {
  const data = JSON.parse(plot.querySelector("script").textContent);
  const cursor = document.createElement("div"), reading = document.createElement("div");
  cursor.className = "cursor";
  reading.className = "reading";
  const hide = () => { cursor.hidden = reading.hidden = true; };
  hide();
  plot.append(cursor, reading);

  function nearest(steps, wanted) {
    let low = 0, high = steps.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (steps[middle] < wanted) low = middle; else high = middle;
    }
    return wanted - steps[low] < steps[high] - wanted ? low : high;
  }

  function show(event) {
    const box = plot.getBoundingClientRect();
    const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    const wanted = data.first + share * (data.last - data.first);
    const anchor = data.series[0].steps[nearest(data.series[0].steps, wanted)];
    const lines = ["step " + anchor];
    for (const series of data.series) {
      const at = nearest(series.steps, anchor);
      lines.push(series.name + " " + Number(series.values[at].toPrecision(4)));
    }
    reading.replaceChildren(...lines.map((line) => {
      const row = document.createElement("div");
      row.textContent = line;
      return row;
    }));
    const x = data.last > data.first ? (anchor - data.first) / (data.last - data.first) * 100 : 0;
    cursor.hidden = reading.hidden = false;
    cursor.style.left = x + "%";
    reading.style.left = x < 50 ? `calc(${x}% + 10px)` : "auto";
    reading.style.right = x < 50 ? "auto" : `calc(${100 - x}% + 10px)`;
  }

  plot.addEventListener("pointermove", show);
  plot.addEventListener("pointerdown", show);
  plot.addEventListener("pointerleave", hide);
}

document.querySelectorAll(".plot").forEach(attachCurve);
