// Pictures of a matrix over time (spectrogram, posteriors), cut into tiles that are made when first seen.

const TILE = 1024; // columns

// Darkest to brightest, from one point of a colour scale to the next; the page's background is the quiet end.
const SCALES = {
  dark: [[15, 17, 26], [44, 25, 84], [118, 34, 110], [197, 66, 82], [247, 139, 56], [252, 241, 182]],
  light: [[255, 255, 255], [214, 222, 240], [142, 157, 211], [94, 84, 164], [74, 31, 94], [29, 10, 36]],
};

function colourTable(scale) {
  const table = new Uint8ClampedArray(256 * 3);
  for (let value = 0; value < 256; value++) {
    const position = (value / 255) * (scale.length - 1);
    const i = Math.min(Math.floor(position), scale.length - 2);
    for (let c = 0; c < 3; c++) table[value * 3 + c] = scale[i][c] + (scale[i + 1][c] - scale[i][c]) * (position - i);
  }
  return table;
}

export class Tiles {
  /** columns of columnS seconds, the first starting at startS; rows from the bottom; valueAt(column, row) -> 0 to 255. */
  constructor({ columns, rows, columnS, startS = 0, valueAt, smooth }, dark) {
    Object.assign(this, { columns, rows, columnS, startS, valueAt, smooth });
    this.table = colourTable(dark ? SCALES.dark : SCALES.light);
    this.tiles = [];
  }

  tile(index) {
    return (this.tiles[index] ??= this.make(index));
  }

  make(index) {
    const start = index * TILE;
    const width = Math.min(TILE, this.columns - start);
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = this.rows;
    const image = new ImageData(width, this.rows);
    for (let x = 0; x < width; x++) {
      for (let row = 0; row < this.rows; row++) {
        const from = this.valueAt(start + x, row) * 3;
        const to = ((this.rows - 1 - row) * width + x) * 4;
        image.data[to] = this.table[from];
        image.data[to + 1] = this.table[from + 1];
        image.data[to + 2] = this.table[from + 2];
        image.data[to + 3] = 255;
      }
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  paint(context, { left, width, perSecond }, { y, height }) {
    const perColumn = perSecond * this.columnS;
    const origin = this.startS * perSecond - left;
    const from = Math.max(0, Math.floor(-origin / perColumn / TILE));
    const to = Math.min(Math.ceil(this.columns / TILE), Math.ceil((width - origin) / perColumn / TILE));
    context.imageSmoothingEnabled = this.smooth;
    for (let index = from; index < to; index++) {
      const tile = this.tile(index);
      context.drawImage(tile, origin + index * TILE * perColumn, y, tile.width * perColumn, height);
    }
  }
}
