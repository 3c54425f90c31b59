// Draws the points and boxes that the page carries; drag to turn, wheel to zoom, no library.
(function () {
  const host = document.getElementById("viewer");
  const canvas = host.querySelector("canvas");
  const gl = canvas.getContext("webgl", { antialias: true, preserveDrawingBuffer: true });
  if (!gl) { host.classList.add("unavailable"); return; }
  const scene = JSON.parse(document.getElementById("viewer-data").textContent);
  const bytes = Uint8Array.from(atob(scene.points), (c) => c.charCodeAt(0));
  const count = scene.count;
  const positions = new Uint16Array(bytes.buffer, 0, count * 3);
  const colors = new Uint8Array(bytes.buffer, count * 6, count * 3);
  const normals = new Int8Array(bytes.buffer, count * 9, count * 3);

  function program(vertex, fragment) {
    const p = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(p, shader);
    }
    gl.linkProgram(p);
    return p;
  }
  const pointProgram = program(
    // Surface that is seen from behind is not drawn: one looks into a room through its walls.
    "attribute vec3 p; attribute vec3 c; attribute vec3 n; uniform mat4 m; uniform float s;" +
    "uniform vec3 eye; varying vec3 v;" +
    "void main() { gl_Position = m * vec4(p, 1.0); v = c;" +
    "gl_PointSize = clamp(s / gl_Position.w, 1.0, 12.0);" +
    "if (dot(n, eye - p) < 0.0) { gl_Position = vec4(2.0, 2.0, 2.0, 1.0); } }",
    "precision mediump float; varying vec3 v; void main() { gl_FragColor = vec4(v, 1.0); }");
  const lineProgram = program(
    "attribute vec3 p; attribute vec3 c; uniform mat4 m; varying vec3 v;" +
    "void main() { gl_Position = m * vec4(p, 1.0); v = c; }",
    "precision mediump float; varying vec3 v; void main() { gl_FragColor = vec4(v, 1.0); }");

  function buffer(data) {
    const b = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, b);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    return b;
  }
  const world = new Float32Array(count * 3);
  for (let i = 0; i < count * 3; i++) {
    world[i] = scene.low[i % 3] + (positions[i] / 65535) * scene.extent[i % 3];
  }
  const positionBuffer = buffer(world), colorBuffer = buffer(colors), normalBuffer = buffer(normals);
  const edges = [[0,1],[2,3],[4,5],[6,7],[0,2],[1,3],[4,6],[5,7],[0,4],[1,5],[2,6],[3,7]];
  const lines = [], lineColors = [];
  for (const box of scene.boxes) {
    for (const edge of edges) for (const k of edge) {
      lines.push(...box.corners[k]);
      lineColors.push(...box.color.map((x) => x / 255));
    }
  }
  const lineBuffer = buffer(new Float32Array(lines));
  const lineColorBuffer = buffer(new Float32Array(lineColors));

  const view = { azimuth: scene.azimuth, elevation: scene.elevation, distance: scene.distance };
  const target = scene.target;
  let showBoxes = true, showPredicted = false;

  function matrix() {
    const { azimuth: a, elevation: e, distance: d } = view;
    const z = [Math.cos(a) * Math.cos(e), Math.sin(a) * Math.cos(e), Math.sin(e)];
    const x = [-Math.sin(a), Math.cos(a), 0];
    const y = [z[1] * x[2] - z[2] * x[1], z[2] * x[0] - z[0] * x[2], z[0] * x[1] - z[1] * x[0]];
    const eye = target.map((t, i) => t + d * z[i]);
    const dot = (u, w) => u[0] * w[0] + u[1] * w[1] + u[2] * w[2];
    const f = 1 / Math.tan(0.36), near = d * 0.02, far = d * 20;
    const aspect = canvas.width / canvas.height;
    const k = (far + near) / (near - far), l = (2 * far * near) / (near - far);
    const m = new Float32Array(16);
    for (let i = 0; i < 3; i++) {
      m[i * 4] = (f / aspect) * x[i];
      m[i * 4 + 1] = f * y[i];
      m[i * 4 + 2] = k * z[i];
      m[i * 4 + 3] = -z[i];
    }
    m[12] = (-f / aspect) * dot(x, eye);
    m[13] = -f * dot(y, eye);
    m[14] = -k * dot(z, eye) + l;
    m[15] = dot(z, eye);
    return [m, eye];
  }
  function attributes(p, buffers) {
    for (const [name, b, kind] of buffers) {
      const place = gl.getAttribLocation(p, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, b);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, 3, kind, kind !== gl.FLOAT, 0, 0);
    }
  }
  function draw() {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio);
    const height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    gl.viewport(0, 0, width, height);
    gl.clearColor(0.914, 0.929, 0.949, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    const [m, eye] = matrix();
    gl.useProgram(pointProgram);
    gl.uniformMatrix4fv(gl.getUniformLocation(pointProgram, "m"), false, m);
    gl.uniform1f(gl.getUniformLocation(pointProgram, "s"), scene.spacing * height * 1.9);
    gl.uniform3fv(gl.getUniformLocation(pointProgram, "eye"), eye);
    attributes(pointProgram, [["p", positionBuffer, gl.FLOAT], ["c", colorBuffer, gl.UNSIGNED_BYTE],
      ["n", normalBuffer, gl.BYTE]]);
    gl.drawArrays(gl.POINTS, 0, showPredicted ? count : scene.measured);
    if (showBoxes && lines.length) {
      gl.useProgram(lineProgram);
      gl.uniformMatrix4fv(gl.getUniformLocation(lineProgram, "m"), false, m);
      attributes(lineProgram, [["p", lineBuffer, gl.FLOAT], ["c", lineColorBuffer, gl.FLOAT]]);
      gl.drawArrays(gl.LINES, 0, lines.length / 3);
    }
  }
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    drag = [event.clientX, event.clientY];
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointerup", () => { drag = null; });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) return;
    view.azimuth -= (event.clientX - drag[0]) * 0.008;
    const tilted = view.elevation + (event.clientY - drag[1]) * 0.006;
    view.elevation = Math.min(1.55, Math.max(-0.3, tilted));
    drag = [event.clientX, event.clientY];
    draw();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    view.distance *= Math.exp(event.deltaY * 0.001);
    draw();
  }, { passive: false });
  const boxes = host.querySelector("input[name=boxes]");
  boxes.addEventListener("change", () => { showBoxes = boxes.checked; draw(); });
  const predicted = host.querySelector("input[name=predicted]");
  predicted.addEventListener("change", () => { showPredicted = predicted.checked; draw(); });
  new ResizeObserver(draw).observe(canvas);
  draw();
})();
