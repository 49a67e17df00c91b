// Figures that are saved as PNG and SVG, as they are made, whatever the screen and the colours of the room.
const asImage = (svg) => new Promise((done, failed) => {
  const image = new Image();
  image.onload = () => done(image);
  image.onerror = failed;
  const bytes = new TextEncoder().encode(svg);
  image.src = "data:image/svg+xml;base64," + btoa([...bytes].map((byte) => String.fromCharCode(byte)).join(""));
});
// 200 dots an inch, and never more pixels to a side than every browser paints.
const asPng = async (svg) => {
  const image = await asImage(svg), { naturalWidth: width, naturalHeight: height } = image;
  const scale = Math.min(200 / 96, 16000 / Math.max(width, height)), canvas = document.createElement("canvas");
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
};
const offered = (figure, title, svg) => tools(
  button("Save as PNG", title + ": save as PNG", async () => save(await asPng(svg()), "image/png", figure.dataset.name + ".png")),
  button("Save as SVG", title + ": save as SVG", () => save(svg(), "image/svg+xml", figure.dataset.name + ".svg")),
);
for (const figure of document.querySelectorAll("figure.drawn")) {
  const image = figure.querySelector("img");
  const svg = () => new TextDecoder().decode(Uint8Array.from(atob(image.src.split(",")[1]), (one) => one.charCodeAt(0)));
  figure.append(offered(figure, figure.querySelector("figcaption b").textContent.replace(/\.\s*$/, ""), svg));
}
