//! A head's shape, to turn the face of a photo with: half an ellipsoid with a nose, on a background that stays where it is.
//!
//! A model, not a measurement: the depth of the nose is drawn between 0.34 and 0.46 eye distances (see
//! `facelatch_models::liveness::planar::NOSE_DEPTH`), the rest is one head for everybody. Called by `species`.

/// Half axes of the head in face units: to the side, up and down, towards the camera.
const HEAD: [f64; 3] = [1.2, 1.75, 1.0];
/// Where the head turns: so far behind the face.
const AXIS_BEHIND: f64 = 0.9;
/// The neck's joint for nodding, below the face's middle.
const AXIS_BELOW: f64 = 0.9;

/// One head.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Head {
    nose: [f64; 2],
    /// Height of the nose's bump on the ellipsoid.
    bump: f64,
}

/// How the head is held, in degrees: yaw to the person's own left, pitch down, roll clockwise as seen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pose {
    /// Turn to the side.
    pub yaw: f64,
    /// Nod.
    pub pitch: f64,
    /// Tilt.
    pub roll: f64,
}

impl Head {
    /// A head whose nose's tip is at a place of the photo, so far in front of the plane of eyes and mouth corners.
    #[must_use]
    pub fn new(nose: [f64; 2], nose_depth: f64) -> Head {
        Head {
            nose,
            bump: nose_depth - ellipsoid(nose),
        }
    }

    /// Height over the plane of eyes and mouth at a place of the photo.
    #[must_use]
    pub fn depth(&self, on: [f64; 2]) -> f64 {
        let (dx, dy) = (on[0] - self.nose[0], on[1] - self.nose[1]);
        // A ridge from the tip up between the eyes, falling off fast below.
        let spread = if dy < 0.0 { 0.36 } else { 0.15 };
        let bump = (-0.5 * ((dx / 0.17).powi(2) + (dy / spread).powi(2))).exp();
        ellipsoid(on) + self.bump * bump
    }

    /// Where a place of the photo is in space when the head is held like this.
    #[must_use]
    pub fn surface(&self, on: [f64; 2], pose: Pose) -> [f64; 3] {
        let part = moving(on);
        let turn = |angle: f64, [a, b]: [f64; 2]| {
            let (s, c) = (part * angle).to_radians().sin_cos();
            [c * a + s * b, c * b - s * a]
        };
        let [x, z] = turn(pose.yaw, [on[0], self.depth(on) + AXIS_BEHIND]);
        let [y, z] = turn(pose.pitch, [on[1] - AXIS_BELOW, z]);
        let [y, x] = turn(pose.roll, [y, x]);
        [x, y + AXIS_BELOW, z - AXIS_BEHIND]
    }
}

/// The ellipsoid's height over the plane through its surface at the eyes and mouth; behind the head, the background's.
fn ellipsoid([x, y]: [f64; 2]) -> f64 {
    let rest = 1.0 - (x / HEAD[0]).powi(2) - (y / HEAD[1]).powi(2);
    HEAD[2] * (rest.max(0.0).sqrt() - 0.86)
}

/// 1 on the head, 0 on what stays: shoulders and background.
fn moving([x, y]: [f64; 2]) -> f64 {
    let radius = (x / HEAD[0]).hypot(y / HEAD[1]);
    let t = ((1.35 - radius) / 0.3).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nose_is_as_deep_as_asked_and_the_eyes_and_mouth_are_a_plane() {
        let head = Head::new([0.0, 0.12], 0.4);
        assert!((head.depth([0.0, 0.12]) - 0.4).abs() < 1e-9);
        for on in [[-0.5, -0.5], [0.5, -0.5], [-0.4, 0.6], [0.4, 0.6]] {
            assert!(head.depth(on).abs() < 0.06, "{on:?}: {}", head.depth(on));
        }
    }

    #[test]
    fn turning_left_moves_the_nose_right_and_leaves_the_background() {
        let head = Head::new([0.0, 0.12], 0.4);
        let pose = Pose {
            yaw: 30.0,
            ..Pose::default()
        };
        assert!(head.surface([0.0, 0.12], pose)[0] > 0.5);
        let far = [3.0, 0.0];
        assert_eq!(head.surface(far, pose)[0], 3.0);
    }
}
