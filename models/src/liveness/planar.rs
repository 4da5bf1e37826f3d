//! What five landmarks tell of depth: the nose's tip against the plane of eyes and mouth corners. Pure geometry.
//!
//! ```text
//!   frame a               frame b
//!   o     o               o    o        eyes and mouth corners fix one homography from a to b; a flat picture takes
//!      ^          --->       ^--x       the nose (^) to x, whatever way it is held; a head that turned has it elsewhere
//!    u   u                 u   u        residual = ^ - x, in b's own face axes, in eye distances
//! ```
//!
//! Eyes and mouth corners of a symmetric face lie in one plane, the tip of the nose in front of it. So the residual of a
//! picture is only noise, that of a bent picture at most its sagitta, that of a head depth x sin(turn). Called by
//! `challenge` and `passive`; the homography is the generator's too.

use super::Landmarks;

/// How far the nose's tip stands in front of the plane of eyes and mouth corners, in eye distances. Head models give 0.34
/// to 0.46 (26 mm in front of the outer eye corners, 21 mm in front of the pupils, at 63 mm between the pupils).
pub const NOSE_DEPTH: f64 = 0.4;

/// How a face moved from one frame to another, as far as five points tell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Motion {
    /// Where the nose is less where a flat picture's would be: along the eyes (positive to the frame's right: the person
    /// turned to their own left) and down, in eye distances as they were before the face tilted.
    pub residual: [f64; 2],
    /// Turn of the eye-mouth plane against frame a, about any axis in it, in degrees, without sign: the arc cosine of the
    /// ratio of the affine motion's singular values. Coarse below 15 degrees.
    pub tilt_deg: f64,
    /// Size in b over size in a.
    pub scale: f64,
}

impl Motion {
    /// The residual's length: of a head that turned or nodded, its depth; of a flat picture, noise.
    #[must_use]
    pub fn parallax(&self) -> f64 {
        self.residual[0].hypot(self.residual[1])
    }
}

/// The motion from frame a to frame b; `None` where eyes and mouth corners make no convex four-sided figure.
///
/// Homography: Heckbert, "Fundamentals of texture mapping and image warping", 1989, section 2.2.3. Its affine part (least
/// squares over the four points) has the singular values scale and scale x cos(tilt) under weak perspective: Koenderink
/// and van Doorn, "Affine structure from motion", 1991, whose second view's parallax off the plane is our residual.
#[must_use]
pub fn motion(a: &Landmarks, b: &Landmarks) -> Option<Motion> {
    let (from, to) = (Quad::of(a)?, Quad::of(b)?);
    let expected = to.at(from.coordinates(wide(a[2])));
    let off = minus(wide(b[2]), expected);
    let [large, small] = singular_values(affine(&from.0, &to.0)?);
    let unit = large * length(minus(from.0[1], from.0[0]));
    let across = minus(to.0[1], to.0[0]);
    let right = [across[0] / length(across), across[1] / length(across)];
    let residual = [
        (off[0] * right[0] + off[1] * right[1]) / unit,
        (off[1] * right[0] - off[0] * right[1]) / unit,
    ];
    let motion = Motion {
        residual,
        tilt_deg: (small / large).clamp(0.0, 1.0).acos().to_degrees(),
        scale: (large * small).sqrt(),
    };
    residual.iter().all(|r| r.is_finite()).then_some(motion)
}

/// Turn of a head to the side in degrees, from one frame; positive to the person's own left. `None` as for [`motion`].
///
/// Weak perspective, a nose's tip [`NOSE_DEPTH`] in front of the plane of eyes and mouth (the face model of Gee and Cipolla,
/// "Determining the gaze of faces in images", 1994): the tip moves by depth x sin(yaw) from the line between the middles
/// of eyes and mouth, the eye distance shrinks with cos(yaw), so yaw = atan(offset / eye distance / depth). A picture of a
/// turned head has the head's yaw: this proves nothing about liveness.
#[must_use]
pub fn yaw_deg(landmarks: &Landmarks) -> Option<f64> {
    let Quad([left_eye, right_eye, mouth_right, mouth_left]) = Quad::of(landmarks)?;
    let across = minus(right_eye, left_eye);
    let apart = length(across);
    let right = [across[0] / apart, across[1] / apart];
    let dot = |a: [f64; 2], b: [f64; 2]| a[0] * b[0] + a[1] * b[1];
    let down = [-right[1], right[0]];
    let eyes = middle(left_eye, right_eye);
    let axis = minus(middle(mouth_left, mouth_right), eyes);
    let nose = minus(wide(landmarks[2]), eyes);
    let along = dot(nose, down) / dot(axis, down);
    let aside = (dot(nose, right) - along * dot(axis, right)) / apart;
    let yaw = (aside / NOSE_DEPTH).atan().to_degrees();
    yaw.is_finite().then_some(yaw)
}

/// A convex four-sided figure: left eye, right eye, right and left mouth corner, clockwise as seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quad([[f64; 2]; 4]);

impl Quad {
    /// Eyes and mouth corners of a face.
    #[must_use]
    pub fn of(landmarks: &Landmarks) -> Option<Quad> {
        let [left_eye, right_eye, _, mouth_left, mouth_right] = landmarks.map(wide);
        Quad::new([left_eye, right_eye, mouth_right, mouth_left])
    }

    /// Four corners, clockwise in a frame whose y points down; `None` unless convex and no corner is nearly straight
    /// (the smallest of the four triangles has 2 % of the figure's area or more).
    #[must_use]
    pub fn new(corners: [[f64; 2]; 4]) -> Option<Quad> {
        let triangle = |i: usize| {
            let (p, q, r) = (corners[i], corners[(i + 1) % 4], corners[(i + 2) % 4]);
            cross(minus(q, p), minus(r, q)) / 2.0
        };
        let areas = [triangle(0), triangle(1), triangle(2), triangle(3)];
        let whole = areas.iter().sum::<f64>() / 2.0;
        let convex = areas
            .iter()
            .all(|&area| area.is_finite() && area > 0.02 * whole && area > 1e-9);
        convex.then_some(Quad(corners))
    }

    /// Takes a point of the unit square ((0, 0) first corner, (1, 0) second, (0, 1) last) to the plane of the figure.
    #[must_use]
    pub fn at(&self, point: [f64; 2]) -> [f64; 2] {
        apply(&self.matrix(), point)
    }

    /// The inverse of [`Quad::at`].
    #[must_use]
    pub fn coordinates(&self, point: [f64; 2]) -> [f64; 2] {
        let m = self.matrix();
        // The adjugate is the inverse up to a factor that cancels.
        let cofactor = |i: usize| {
            let (row, column) = (i % 3, i / 3);
            let (r1, r2) = ((row + 1) % 3, (row + 2) % 3);
            let (c1, c2) = ((column + 1) % 3, (column + 2) % 3);
            m[3 * r1 + c1] * m[3 * r2 + c2] - m[3 * r1 + c2] * m[3 * r2 + c1]
        };
        apply(&std::array::from_fn(cofactor), point)
    }

    /// Square to quadrilateral, row by row; the last number is 1.
    fn matrix(&self) -> [f64; 9] {
        let [p0, p1, p2, p3] = self.0;
        let (d1, d2) = (minus(p1, p2), minus(p3, p2));
        let sum = [p0[0] - p1[0] + p2[0] - p3[0], p0[1] - p1[1] + p2[1] - p3[1]];
        // Not 0: the corner p2 of a convex figure is not straight.
        let den = cross(d1, d2);
        let (g, h) = (cross(sum, d2) / den, cross(d1, sum) / den);
        [
            p1[0] - p0[0] + g * p1[0],
            p3[0] - p0[0] + h * p3[0],
            p0[0],
            p1[1] - p0[1] + g * p1[1],
            p3[1] - p0[1] + h * p3[1],
            p0[1],
            g,
            h,
            1.0,
        ]
    }
}

fn apply(m: &[f64; 9], [x, y]: [f64; 2]) -> [f64; 2] {
    let row = |i: usize| m[i] * x + m[i + 1] * y + m[i + 2];
    [row(0) / row(6), row(3) / row(6)]
}

/// The linear part of the affine motion that takes four points nearest to four others, row by row.
fn affine(from: &[[f64; 2]; 4], to: &[[f64; 2]; 4]) -> Option<[f64; 4]> {
    let mean = |points: &[[f64; 2]; 4]| {
        let sum = points
            .iter()
            .fold([0.0; 2], |s, p| [s[0] + p[0], s[1] + p[1]]);
        [sum[0] / 4.0, sum[1] / 4.0]
    };
    let (from_mean, to_mean) = (mean(from), mean(to));
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    let mut moved = [0.0; 4];
    for (p, q) in from.iter().zip(to) {
        let (p, q) = (minus(*p, from_mean), minus(*q, to_mean));
        xx += p[0] * p[0];
        xy += p[0] * p[1];
        yy += p[1] * p[1];
        for (sum, value) in
            moved
                .iter_mut()
                .zip([q[0] * p[0], q[0] * p[1], q[1] * p[0], q[1] * p[1]])
        {
            *sum += value;
        }
    }
    let den = xx * yy - xy * xy;
    let [ax, ay, bx, by] = moved;
    let linear = [
        (ax * yy - ay * xy) / den,
        (ay * xx - ax * xy) / den,
        (bx * yy - by * xy) / den,
        (by * xx - bx * xy) / den,
    ];
    linear.iter().all(|l| l.is_finite()).then_some(linear)
}

/// Of a 2 x 2 matrix, row by row; the larger first.
fn singular_values([a, b, c, d]: [f64; 4]) -> [f64; 2] {
    let (sum, difference) = ((a + d).hypot(c - b), (a - d).hypot(b + c));
    [(sum + difference) / 2.0, (sum - difference).abs() / 2.0]
}

fn wide([x, y]: [f32; 2]) -> [f64; 2] {
    [f64::from(x), f64::from(y)]
}

fn minus(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    [a[0] - b[0], a[1] - b[1]]
}

fn middle(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0]
}

fn cross(a: [f64; 2], b: [f64; 2]) -> f64 {
    a[0] * b[1] - a[1] * b[0]
}

fn length(a: [f64; 2]) -> f64 {
    a[0].hypot(a[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A head's points in eye distances, x right and y down as seen, z towards the camera.
    const HEAD: [[f64; 3]; 5] = [
        [-0.5, -0.5, 0.0],
        [0.5, -0.5, 0.0],
        [0.0, 0.1, NOSE_DEPTH],
        [-0.4, 0.6, 0.0],
        [0.4, 0.6, 0.0],
    ];

    /// The points turned by yaw (to the person's left), pitch and roll, seen by a pinhole camera so many eye distances off.
    fn seen(points: &[[f64; 3]; 5], [yaw, pitch, roll]: [f64; 3], off: f64) -> Landmarks {
        points.map(|[x, y, z]| {
            let (s, c) = yaw.to_radians().sin_cos();
            let (x, z) = (c * x + s * z, c * z - s * x);
            let (s, c) = pitch.to_radians().sin_cos();
            let (y, z) = (c * y + s * z, c * z - s * y);
            let (s, c) = roll.to_radians().sin_cos();
            let (x, y) = (c * x - s * y, s * x + c * y);
            let scale = 400.0 / (off - z);
            [(320.0 + scale * x) as f32, (240.0 + scale * y) as f32]
        })
    }

    fn flat() -> [[f64; 3]; 5] {
        HEAD.map(|[x, y, _]| [x, y, 0.0])
    }

    /// On a cylinder about the vertical axis, bulging towards the camera (or away with a negative radius).
    fn bent(radius: f64) -> [[f64; 3]; 5] {
        HEAD.map(|[x, y, _]| {
            let angle = x / radius;
            [radius * angle.sin(), y, radius * (angle.cos() - 1.0)]
        })
    }

    #[test]
    fn only_depth_leaves_a_residual() {
        struct Case {
            what: &'static str,
            points: [[f64; 3]; 5],
            angles: [f64; 3],
            off: f64,
            across: [f64; 2],
        }
        let case = |what, points, angles, off, across| Case {
            what,
            points,
            angles,
            off,
            across,
        };
        #[rustfmt::skip]
        let cases = [
            case("a flat picture held still", flat(), [0.0, 0.0, 0.0], 10.0, [-1e-4, 1e-4]),
            case("nearer", flat(), [0.0, 0.0, 0.0], 5.0, [-1e-4, 1e-4]),
            case("tilted about the vertical axis", flat(), [50.0, 0.0, 0.0], 10.0, [-1e-4, 1e-4]),
            case("very near and tilted every way", flat(), [-40.0, 30.0, 15.0], 3.0, [-1e-4, 1e-4]),
            case("bent, not turned", bent(1.0), [0.0, 0.0, 0.0], 10.0, [-1e-4, 1e-4]),
            case("bent and turned", bent(1.0), [40.0, 0.0, 0.0], 10.0, [0.06, 0.13]),
            case("bent to a tube and turned", bent(0.7), [45.0, 0.0, 0.0], 10.0, [0.08, 0.16]),
            case("bent inwards and turned", bent(-1.0), [40.0, 0.0, 0.0], 10.0, [-0.12, -0.04]),
            case("a head looking on", HEAD, [0.0, 0.0, 0.0], 10.0, [-1e-4, 1e-4]),
            case("a head turned left", HEAD, [30.0, 0.0, 0.0], 10.0, [0.18, 0.24]),
            case("a head turned right", HEAD, [-30.0, 0.0, 0.0], 10.0, [-0.24, -0.18]),
            case("turned and tilted", HEAD, [30.0, 10.0, 20.0], 10.0, [0.17, 0.25]),
            case("turned far, near the camera", HEAD, [45.0, 0.0, 0.0], 6.0, [0.26, 0.36]),
        ];
        let mut failures = vec![];
        for case in cases {
            let straight = seen(&case.points, [0.0; 3], 10.0);
            let found = motion(&straight, &seen(&case.points, case.angles, case.off)).unwrap();
            let [low, high] = case.across;
            if !(low..=high).contains(&found.residual[0]) {
                failures.push(format!("{}: {found:?}", case.what));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn scale_tilt_and_yaw_are_told() {
        let straight = seen(&HEAD, [0.0; 3], 100.0);
        let mut failures = vec![];
        for yaw in [-40.0, -25.0, 0.0, 25.0, 40.0] {
            let turned = seen(&HEAD, [yaw, 0.0, 0.0], 100.0);
            let tilt = motion(&straight, &turned).unwrap().tilt_deg;
            let found = yaw_deg(&turned).unwrap();
            if (tilt - f64::abs(yaw)).abs() > 2.0 || (found - yaw).abs() > 2.0 {
                failures.push(format!("{yaw}: tilt {tilt}, yaw {found}"));
            }
        }
        let larger = motion(&straight, &straight.map(|p| p.map(|v| 1.5 * v))).unwrap();
        if (larger.scale - 1.5).abs() > 1e-4 {
            failures.push(format!("{larger:?}"));
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn degenerate_faces_have_no_motion() {
        let good = seen(&HEAD, [0.0; 3], 10.0);
        let mut crossed = good;
        crossed.swap(0, 1);
        let mut line = good;
        line[3] = [300.0, 220.0];
        line[4] = [340.0, 220.0];
        line[0][1] = 220.0;
        line[1][1] = 220.0;
        let mut unknown = good;
        unknown[2] = [f32::NAN; 2];
        for bad in [
            [[0.0; 2]; 5],
            [[f32::INFINITY; 2]; 5],
            crossed,
            line,
            unknown,
        ] {
            assert_eq!(motion(&good, &bad), None, "{bad:?}");
            assert_eq!(motion(&bad, &good), None, "{bad:?}");
            assert_eq!(yaw_deg(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn coordinates_are_the_inverse() {
        let quad = Quad::of(&seen(&HEAD, [30.0, 20.0, 10.0], 4.0)).unwrap();
        for point in [[0.0, 0.0], [1.0, 0.0], [0.5, 0.5], [0.2, 0.9]] {
            let back = quad.coordinates(quad.at(point));
            assert!((back[0] - point[0]).abs() < 1e-9 && (back[1] - point[1]).abs() < 1e-9);
        }
    }
}
