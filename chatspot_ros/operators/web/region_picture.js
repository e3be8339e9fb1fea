// The live picture with the regions on it. It fetches each frame when it has the last one, draws what
// the server says, and sends finished gestures in pixels of the camera's picture.
const CLICK_SLOP = { mouse: 4, pen: 8, touch: 14 }; // CSS pixels
const AGAIN_MS = 1000;
const STORED = "chatspot-page";

export default {
  template: `
    <div class="picture" tabindex="0" role="application" @keydown="onKey"
        aria-label="Picture: click a point, drag a box. Enter closes a polygon, Escape clears.">
      <div class="picture-frame" ref="frame" :style="{'--ratio': size[0] / size[1]}"
          :data-number="number" :data-lost="lost"
          @pointerdown="onDown" @pointermove="onMove" @pointerup="onUp"
          @pointercancel="from = null" @pointerleave="at = null" @contextmenu.prevent>
        <img ref="img" draggable="false" alt="The camera's picture" v-show="number" />
        <div v-if="!number" class="picture-empty">{{ waiting }}</div>
        <svg v-if="number" :viewBox="'0 0 ' + size[0] + ' ' + size[1]" preserveAspectRatio="none">
          <rect v-for="one in boxes" class="detection" v-bind="rectangle(one.box)" />
          <template v-for="one in shapes">
            <rect v-if="one.kind == 'box'" :class="one.look" :stroke="one.colour"
              v-bind="rectangle(one.points.flat())" />
            <polygon v-if="one.kind == 'polygon'" :class="one.look" :stroke="one.colour"
              :points="one.points.join(' ')" />
            <polyline v-if="one.kind == 'stroke'" :class="one.look" :stroke="one.colour"
              :points="one.points.join(' ')" />
          </template>
          <polyline v-if="corners.length" class="unfinished"
            :points="[...corners, ...(at ? [at] : [])].join(' ')" />
          <rect v-if="dragged" class="unfinished" v-bind="rectangle(dragged)" />
        </svg>
        <template v-if="number">
          <span v-for="one in boxes" class="detection-label" v-show="one.label"
            :style="place(one.box)">{{ one.label }}</span>
          <template v-for="one in shapes">
            <span v-if="one.kind == 'point'" class="dot" :class="one.look"
              :style="{...place(one.points[0]), borderColor: one.colour}"></span>
            <span class="mark" :class="one.look" :data-mark="one.text"
              :style="{...place(corner(one)), background: one.colour}">{{ one.text }}</span>
          </template>
          <span v-for="(one, index) in corners" class="corner" :class="{first: !index}"
            :style="place(one)"></span>
        </template>
      </div>
    </div>
  `,
  props: {
    url: String,
    shapes: { type: Array, default: () => [] },
    corners: { type: Array, default: () => [] },
    polygon: Boolean,
    detections: { type: Boolean, default: true },
    waiting: String,
    saved: String,
  },
  data: () => ({ number: 0, size: [4, 3], found: [], from: null, at: null, lost: false }),
  computed: {
    boxes() {
      const chosen = this.shapes.map((one) => String(one.points));
      return this.detections ? this.found.filter((one) => !chosen.includes(String(one.box))) : [];
    },
    dragged() {
      if (!this.from || !this.at || this.polygon) return null;
      return this.isClick(this.from, this.at) ? null : [...this.from.xy, ...this.at];
    },
  },
  watch: {
    saved(text) {
      if (text) sessionStorage.setItem(STORED, text);
    },
  },
  mounted() {
    const stored = sessionStorage.getItem(STORED);
    if (stored) this.$emit("restore", stored);
    this.follow();
  },
  unmounted() {
    this.gone = true;
  },
  methods: {
    async follow() {
      while (!this.gone) {
        if (document.hidden) {
          await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
        }
        try {
          const reply = await fetch(this.url + "?after=" + this.number, { cache: "no-store" });
          if (reply.status == 401) location.reload();
          if (!reply.ok) throw new Error(reply.status);
          if (reply.status == 200) await this.show(await reply.arrayBuffer());
          this.lost = false;
        } catch {
          this.lost = true;
          await new Promise((done) => setTimeout(done, AGAIN_MS));
        }
      }
    },
    async show(data) {
      const end = 4 + new DataView(data).getUint32(0);
      const about = JSON.parse(new TextDecoder().decode(data.slice(4, end)));
      const before = this.$refs.img.src;
      this.$refs.img.src = URL.createObjectURL(new Blob([data.slice(end)], { type: "image/jpeg" }));
      await this.$refs.img.decode();
      URL.revokeObjectURL(before);
      this.size = about.size;
      this.found = about.detections;
      this.number = about.number;
    },
    xy(event) {
      const bounds = this.$refs.frame.getBoundingClientRect();
      return [
        ((event.clientX - bounds.left) / bounds.width) * this.size[0],
        ((event.clientY - bounds.top) / bounds.height) * this.size[1],
      ];
    },
    slop(kind) {
      return (CLICK_SLOP[kind] ?? 8) * (this.size[0] / this.$refs.frame.getBoundingClientRect().width);
    },
    isClick(from, to) {
      return Math.hypot(from.xy[0] - to[0], from.xy[1] - to[1]) <= this.slop(from.kind);
    },
    onDown(event) {
      if (!this.number) return;
      if (!event.isPrimary) {
        this.from = null; // a second finger: the person zooms
        return;
      }
      const xy = this.xy(event);
      if (event.button == 2) {
        this.$emit("corner", { at: xy, slop: this.slop(event.pointerType), keep: event.shiftKey });
      } else if (event.button == 0) {
        this.$refs.frame.setPointerCapture(event.pointerId);
        this.from = { xy, kind: event.pointerType };
      }
      this.at = xy;
    },
    onMove(event) {
      if (event.isPrimary && (this.from || this.corners.length)) this.at = this.xy(event);
    },
    onUp(event) {
      if (!this.from || !event.isPrimary) return;
      const { xy, kind } = this.from;
      const more = { slop: this.slop(kind), keep: event.shiftKey };
      this.from = null;
      this.at = null;
      if (this.polygon) {
        this.$emit("corner", { at: this.xy(event), ...more });
      } else {
        this.$emit("press", { from: xy, to: this.xy(event), point: event.altKey, ...more });
      }
    },
    onKey(event) {
      const names = { Escape: "escape", Enter: "close", Backspace: "undo", Delete: "undo" };
      if (!names[event.key]) return;
      event.preventDefault();
      this.from = null;
      this.$emit("key", names[event.key]);
    },
    rectangle([x1, y1, x2, y2]) {
      const [x, y] = [Math.min(x1, x2), Math.min(y1, y2)];
      return { x, y, width: Math.abs(x2 - x1), height: Math.abs(y2 - y1) };
    },
    corner(one) {
      const xs = one.points.map((point) => point[0]);
      const ys = one.points.map((point) => point[1]);
      return [Math.min(...xs), one.look == "grounded" ? Math.max(...ys) : Math.min(...ys)];
    },
    place([x, y]) {
      return { left: (100 * x) / this.size[0] + "%", top: (100 * y) / this.size[1] + "%" };
    },
  },
};
