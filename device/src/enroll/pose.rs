//! The poses a newcomer is led through: which come in which order, and whether a head is held as asked. Pure.
//!
//! Angles are those of `quality`: yaw grows to the person's own left, pitch upwards. Faces differ in where their nose is,
//! so a turn is measured from the person's own straight look, the first frame that was kept.

use facelatch_protocol::Prompt;

/// Straight ahead for the first frame: yaw is the same for all faces, pitch is not.
const FIRST_YAW_DEG: f32 = 10.0;
const FIRST_PITCH_DEG: f32 = 20.0;
/// Straight ahead again.
const STRAIGHT_DEG: f32 = 9.0;
/// A turn to the side: enough to be another view, not so much that the template is of no use at the door.
const SIDE_DEG: std::ops::RangeInclusive<f32> = 10.0..=28.0;
/// A nod.
const NOD_DEG: std::ops::RangeInclusive<f32> = 6.0..=22.0;
/// How far the head may be off the other way meanwhile.
const OFF_DEG: f32 = 12.0;

/// How a head is held, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Head {
    /// Turn to the person's own left.
    pub yaw_deg: f32,
    /// Turn up.
    pub pitch_deg: f32,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pose {
    /// Look into the camera.
    Straight,
    /// Turn to one's own left.
    Left,
    /// Turn to one's own right.
    Right,
    /// Lift the chin.
    Up,
    /// Lower it.
    Down,
}

impl Pose {
    const TURNED: [Pose; 4] = [Pose::Left, Pose::Right, Pose::Up, Pose::Down];

    /// So many poses, in the order they are asked for: the straight look first, which also takes what cannot be divided
    /// among all.
    #[must_use]
    pub fn plan(frames: usize) -> Vec<Pose> {
        let each = frames / 5;
        if each == 0 {
            let turned = Pose::TURNED.into_iter();
            return [Pose::Straight]
                .into_iter()
                .chain(turned)
                .take(frames)
                .collect();
        }
        let straight = std::iter::repeat_n(Pose::Straight, frames - 4 * each);
        let turned = Pose::TURNED
            .into_iter()
            .flat_map(|pose| std::iter::repeat_n(pose, each));
        straight.chain(turned).collect()
    }

    /// The words for it.
    #[must_use]
    pub fn prompt(self) -> Prompt {
        match self {
            Pose::Straight => Prompt::LookStraight,
            Pose::Left => Prompt::TurnLeft,
            Pose::Right => Prompt::TurnRight,
            Pose::Up => Prompt::LookUp,
            Pose::Down => Prompt::LookDown,
        }
    }

    /// Whether a head is held like this; `neutral` is the person's own straight look, `None` before there is one.
    #[must_use]
    pub fn is_held(self, head: Head, neutral: Option<Head>) -> bool {
        let Some(neutral) = neutral else {
            return self == Pose::Straight
                && head.yaw_deg.abs() <= FIRST_YAW_DEG
                && head.pitch_deg.abs() <= FIRST_PITCH_DEG;
        };
        let yaw = head.yaw_deg - neutral.yaw_deg;
        let pitch = head.pitch_deg - neutral.pitch_deg;
        match self {
            Pose::Straight => yaw.abs() <= STRAIGHT_DEG && pitch.abs() <= STRAIGHT_DEG,
            Pose::Left => SIDE_DEG.contains(&yaw) && pitch.abs() <= OFF_DEG,
            Pose::Right => SIDE_DEG.contains(&-yaw) && pitch.abs() <= OFF_DEG,
            Pose::Up => NOD_DEG.contains(&pitch) && yaw.abs() <= OFF_DEG,
            Pose::Down => NOD_DEG.contains(&-pitch) && yaw.abs() <= OFF_DEG,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_divided_among_the_poses_and_the_rest_looks_straight() {
        let count = |frames: usize| {
            let plan = Pose::plan(frames);
            assert_eq!(plan.len(), frames);
            assert_eq!(plan[0], Pose::Straight, "the first tells the neutral look");
            let of = |pose| plan.iter().filter(|p| **p == pose).count();
            [
                Pose::Straight,
                Pose::Left,
                Pose::Right,
                Pose::Up,
                Pose::Down,
            ]
            .map(of)
        };
        assert_eq!(count(1), [1, 0, 0, 0, 0]);
        assert_eq!(count(3), [1, 1, 1, 0, 0]);
        assert_eq!(count(5), [1, 1, 1, 1, 1]);
        assert_eq!(count(8), [4, 1, 1, 1, 1]);
        assert_eq!(count(20), [4, 4, 4, 4, 4]);
    }

    #[test]
    fn a_pose_is_measured_from_the_persons_own_straight_look() {
        let head = |yaw_deg, pitch_deg| Head { yaw_deg, pitch_deg };
        let low_nose = Some(head(2.0, -9.0));
        let cases = [
            (Pose::Straight, head(9.0, -18.0), None, true),
            (Pose::Straight, head(14.0, 0.0), None, false),
            (Pose::Straight, head(0.0, 25.0), None, false),
            (Pose::Left, head(15.0, 0.0), None, false),
            (Pose::Straight, head(4.0, -4.0), low_nose, true),
            (Pose::Straight, head(4.0, 2.0), low_nose, false),
            (Pose::Left, head(16.0, -9.0), low_nose, true),
            (Pose::Left, head(8.0, -9.0), low_nose, false),
            (Pose::Left, head(36.0, -9.0), low_nose, false),
            (Pose::Left, head(16.0, 8.0), low_nose, false),
            (Pose::Right, head(-16.0, -9.0), low_nose, true),
            (Pose::Right, head(16.0, -9.0), low_nose, false),
            (Pose::Up, head(2.0, 0.0), low_nose, true),
            (Pose::Up, head(2.0, -16.0), low_nose, false),
            (Pose::Down, head(2.0, -16.0), low_nose, true),
            (Pose::Down, head(20.0, -16.0), low_nose, false),
            (Pose::Down, head(f32::NAN, -16.0), low_nose, false),
        ];
        let mut failures = vec![];
        for (pose, head, neutral, expected) in cases {
            if pose.is_held(head, neutral) != expected {
                failures.push(format!("{pose:?} at {head:?} from {neutral:?}"));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }
}
