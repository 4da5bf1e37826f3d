//! The int8 compiler: shipped networks against tract as the oracle, and files that must be refused.

use std::{fs, path::Path};

use facelatch_int8::{Engine, Plan};
use facelatch_models::{
    Error,
    align::{View, align},
    compile::compile,
    image,
    mtcnn::{DetectorConfig, main_face},
    net::{Int8Graph, Net},
    plans::PlanCache,
    zoo::Zoo,
};
use ndarray::{Array4, ArrayD, s};
use prost::Message;
use tract_onnx::pb::{AttributeProto, ModelProto, NodeProto};
use tract_onnx::prelude::{
    DatumExt as _, IntoRunnable as _, SpecialOps as _, Tensor, TypedModel, tvec,
};

const NETWORKS: [&str; 5] = [
    "mtcnn-pnet",
    "mtcnn-rnet",
    "mtcnn-onet",
    "facenet",
    "mobilefacenet",
];

fn onnx(name: &str) -> Vec<u8> {
    let zoo = Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo");
    fs::read(zoo.join(format!("{name}-int8.onnx"))).unwrap()
}

fn engine_and_oracle(name: &str) -> [Net; 2] {
    let bytes = onnx(name);
    let oracle = Net::by_tract(name, &bytes).unwrap();
    let plan = Plan::from_bytes(&compile(name, bytes).unwrap()).unwrap();
    let net = Net::from_plan(name, plan, &Engine::from_env().unwrap()).unwrap();
    assert!(net.is_int8() && !oracle.is_int8());
    [net, oracle]
}

/// Crops of faces as an embedder cuts them, at the size a network takes, then one of noise.
fn pictures(embedder: &str, side: u32) -> Array4<u8> {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/demo");
    let zoo = Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo");
    let zoo = Zoo::open(&zoo).unwrap();
    let mut detector = zoo.detector(DetectorConfig::default()).unwrap();
    let (_, spec) = zoo.embedder_facts(embedder).unwrap();
    let view = View {
        width: side,
        height: side,
        ..spec.views()[0]
    };
    let spec = view.into();
    let photos = [
        "enroll/barack_obama/obama.jpg",
        "enroll/eileen_collins/astronaut.png",
        "visitors/biden.jpg",
    ];
    let mut pixels: Vec<u8> = Vec::new();
    for photo in photos {
        let photo = image::open(&demo.join(photo)).unwrap();
        let faces = detector.detect(&photo).unwrap();
        let face = main_face(&faces, &photo).unwrap();
        pixels.extend(align(&photo, face, &spec).0.as_raw());
    }
    let one = (side * side * 3) as usize;
    pixels.extend((0..one as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8));
    let side = side as usize;
    Array4::from_shape_vec((photos.len() + 1, side, side, 3), pixels).unwrap()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(x, y)| f64::from(*x) * f64::from(*y))
            .sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn furthest(a: &ArrayD<f32>, b: &ArrayD<f32>) -> f32 {
    assert_eq!(a.shape(), b.shape());
    let pairs = a.iter().zip(b);
    pairs.map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

#[test]
fn embedders_agree_with_the_oracle() {
    // Least cosine of a face, and of noise. Each of MobileFaceNet's twelve branches is rounded twice in the file and once in
    // the plan, and they are narrow.
    let cases = [
        ("facenet", 160, 512, [0.9995, 0.998]),
        ("mobilefacenet", 112, 192, [0.9985, 0.995]),
    ];
    for (name, side, numbers, least) in cases {
        let [mut net, mut oracle] = engine_and_oracle(name);
        let pictures = pictures(name, side);
        let ours = net.run(pictures.view()).unwrap();
        assert_eq!(ours[0].shape(), [4, numbers]);
        agree(&ours[0], &oracle.run(pictures.view()).unwrap()[0], least);
    }
}

fn agree(ours: &ArrayD<f32>, theirs: &ArrayD<f32>, [least_face, least_noise]: [f64; 2]) {
    let rows = ours.outer_iter().zip(theirs.outer_iter());
    let cosines: Vec<f64> = rows
        .map(|(a, b)| {
            cosine(
                &a.iter().copied().collect::<Vec<_>>(),
                &b.iter().copied().collect::<Vec<_>>(),
            )
        })
        .collect();
    println!("cosines to tract: {cosines:?}");
    let (noise, faces) = cosines.split_last().unwrap();
    assert!(faces.iter().all(|c| *c >= least_face), "{cosines:?}");
    // Noise is far from what the grids were made for: residual branches saturate in the file, not in the plan.
    assert!(*noise >= least_noise, "{cosines:?}");
}

/// A tie in rounding may fall either way (the oracle multiplies in another order): one step of an activation's grid, as
/// far as it comes through to a probability, or to a coordinate in units of the box. Measured: at most 3e-7.
#[test]
fn detectors_agree_with_the_oracle() {
    struct Case(&'static str, u32, [f32; 3]);
    let cases = [
        Case("mtcnn-pnet", 61, [0.01, 0.01, 0.0]),
        Case("mtcnn-rnet", 24, [0.01, 0.01, 0.0]),
        Case("mtcnn-onet", 48, [0.01, 0.01, 0.01]),
    ];
    for Case(name, side, tolerances) in cases {
        let [mut net, mut oracle] = engine_and_oracle(name);
        let pictures = pictures("facenet", side);
        let ours = net.run(pictures.view()).unwrap();
        let theirs = oracle.run(pictures.view()).unwrap();
        assert_eq!(ours.len(), theirs.len(), "{name}");
        for ((a, b), most) in ours.iter().zip(&theirs).zip(tolerances) {
            let found = furthest(a, b);
            println!("{name} {:?}: {found}", a.shape());
            assert!(found <= most, "{name}: {found} > {most}");
        }
    }
}

#[test]
fn a_batch_gives_what_its_pictures_give_alone() {
    let [mut net, _] = engine_and_oracle("mtcnn-rnet");
    // More than the engine takes at once.
    let n = net.batch([24, 24]) + 5;
    let pictures = Array4::from_shape_fn((n, 24, 24, 3), |(i, y, x, c)| {
        (i * 31 + y * 7 + x * 13 + c * 5) as u8
    });
    let all = net.run(pictures.view()).unwrap();
    assert_eq!(all[0].shape(), [n, 2]);
    for i in 0..n {
        let one = net.run(pictures.slice(s![i..=i, .., .., ..])).unwrap();
        for (all, one) in all.iter().zip(&one) {
            assert_eq!(all.slice(s![i..=i, ..]).into_dyn(), one.view(), "{i}");
        }
    }
}

#[test]
fn infer_gives_the_pixels_of_run() {
    for mut net in engine_and_oracle("mtcnn-pnet") {
        let picture = Array4::from_shape_fn((1, 30, 41, 3), |(_, y, x, c)| (y * 9 + x * c) as u8);
        let arrays = net.run(picture.view()).unwrap();
        let outputs = net.infer(picture.as_slice().unwrap(), [1, 30, 41]).unwrap();
        for (at, array) in arrays.iter().enumerate() {
            let output = outputs.get(at).unwrap();
            let [1, h, w, c] = output.shape() else {
                panic!("{:?}", output.shape())
            };
            assert_eq!(array.shape(), [1, c, h, w]);
            let pixel = output.pixel(0, h - 1, w / 2).unwrap();
            let expected = array.slice(s![0, .., h - 1, w / 2]);
            assert_eq!(expected.iter().copied().collect::<Vec<_>>(), pixel);
            assert_eq!(output.pixel(0, h, 0), None);
            assert_eq!(output.pixel(1, 0, 0), None);
        }
        assert!(net.infer(&[0; 100], [1, 30, 41]).is_err());
        assert!(net.infer(&[], [0, 30, 41]).is_err());
    }
}

#[test]
fn a_plan_inside_tract_gives_the_same_bits() {
    let plan = Plan::from_bytes(&compile("rnet", onnx("mtcnn-rnet")).unwrap()).unwrap();
    let engine = Engine::from_env().unwrap();
    let graph = Int8Graph::new(&plan, [24, 24], &engine).unwrap();
    let mut model = TypedModel::default();
    let input = model
        .add_source("pixels", u8::fact([3, 24, 24, 3]))
        .unwrap();
    let outputs = model.wire_node("int8", graph, &[input]).unwrap();
    model.select_output_outlets(&outputs).unwrap();
    let runnable = model.into_optimized().unwrap().into_runnable().unwrap();
    let pictures = Array4::from_shape_fn((3, 24, 24, 3), |(i, y, x, c)| {
        (i * 91 + y * 11 + x * 3 + c * 40) as u8
    });
    let input = Tensor::from_shape(&[3, 24, 24, 3], pictures.as_slice().unwrap()).unwrap();
    let by_tract = runnable.run(tvec!(input.into())).unwrap();

    let mut net = Net::from_plan("rnet", plan, &engine).unwrap();
    let ours = net.run(pictures.view()).unwrap();
    assert_eq!(by_tract.len(), 2);
    for (a, b) in by_tract.iter().zip(&ours) {
        let a = a.to_plain_array_view::<f32>().unwrap();
        assert_eq!(a.shape(), [3, b.shape()[1], 1, 1]);
        let bits = |v: &f32| v.to_bits();
        assert!(a.iter().map(bits).eq(b.iter().map(bits)));
    }
}

#[test]
fn plans_are_the_same_every_time_and_name_their_source() {
    for name in NETWORKS {
        let bytes = onnx(name);
        let zoo = Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo");
        let zoo = Zoo::open(&zoo).unwrap();
        let listed = zoo.manifest().network.iter().find(|n| n.name == name);
        let plan = compile(name, bytes.clone()).unwrap();
        assert_eq!(plan, compile(name, bytes).unwrap(), "{name}");
        let plan = Plan::from_bytes(&plan).unwrap();
        let source: String = plan.source().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(source, listed.unwrap().sha256, "{name}");
    }
}

#[test]
fn a_kept_plan_stands_for_its_file() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo");
    let (copy, plans) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = ["mtcnn-pnet", "mtcnn-rnet", "mtcnn-onet"].map(|n| format!("{n}-int8.onnx"));
    for file in files.iter().map(String::as_str).chain(["manifest.toml"]) {
        fs::copy(shipped.join(file), copy.path().join(file)).unwrap();
    }
    let load = || {
        let zoo = Zoo::open(copy.path()).unwrap();
        let zoo = zoo.with_plans(PlanCache::at(plans.path().to_owned()));
        zoo.detector(DetectorConfig::default())
    };
    load().unwrap();
    for file in &files {
        fs::write(copy.path().join(file), "changed").unwrap();
    }
    load().unwrap();
    // A damaged plan is made again, from the file, whose digest then counts.
    for plan in fs::read_dir(plans.path()).unwrap() {
        let plan = plan.unwrap().path();
        let mut bytes = fs::read(&plan).unwrap();
        bytes[100] ^= 1;
        fs::remove_file(&plan).unwrap();
        fs::write(&plan, bytes).unwrap();
    }
    let said = load().unwrap_err().to_string();
    assert!(said.contains("SHA-256"), "{said}");
}

fn node<'a>(model: &'a mut ModelProto, operator: &str) -> &'a mut NodeProto {
    let nodes = &mut model.graph.as_mut().unwrap().node;
    nodes.iter_mut().find(|n| n.op_type == operator).unwrap()
}

fn said(model: &ModelProto) -> String {
    match compile("changed", model.encode_to_vec()) {
        Err(Error::Network { why, .. }) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => "compiled".to_owned(),
    }
}

#[test]
fn refusals_name_the_operator_and_the_node() {
    struct Case(&'static str, fn(&mut ModelProto), [&'static str; 2]);
    fn set(model: &mut ModelProto, operator: &str, name: &str, i: i64, ints: &[i64], s: &[u8]) {
        node(model, operator).attribute.retain(|a| a.name != name);
        node(model, operator).attribute.push(AttributeProto {
            name: name.to_owned(),
            i,
            ints: ints.to_vec(),
            s: s.to_vec(),
            ..Default::default()
        });
    }
    fn constant<'a>(model: &'a mut ModelProto, name: &str) -> &'a mut tract_onnx::pb::TensorProto {
        let constants = &mut model.graph.as_mut().unwrap().initializer;
        constants
            .iter_mut()
            .find(|t| t.name.contains(name))
            .unwrap()
    }
    let cases = [
        Case(
            "unknown operator",
            |m| node(m, "PRelu").op_type = "Sigmoid".into(),
            ["does not know operator Sigmoid", "p_re_lu.out"],
        ),
        Case(
            "another domain",
            |m| node(m, "PRelu").domain = "com.example".into(),
            ["does not know operator PRelu", "p_re_lu.out"],
        ),
        Case(
            "automatic padding",
            |m| set(m, "Conv", "auto_pad", 0, &[], b"SAME_UPPER"),
            ["operator Conv", "automatic padding"],
        ),
        Case(
            "dilations",
            |m| set(m, "Conv", "dilations", 0, &[2, 1], b""),
            ["operator Conv", "dilations"],
        ),
        Case(
            "groups",
            |m| set(m, "Conv", "group", 2, &[], b""),
            ["operator Conv", "group"],
        ),
        Case(
            "an attribute of no meaning",
            |m| set(m, "MaxPool", "wrap", 1, &[], b""),
            ["operator MaxPool", "attribute wrap"],
        ),
        Case(
            "round up",
            |m| set(m, "MaxPool", "ceil_mode", 1, &[], b""),
            ["operator MaxPool", "ceil_mode"],
        ),
        Case(
            "padding of nobody",
            |m| set(m, "MaxPool", "pads", 0, &[0, 0, 9, 9], b""),
            ["operator MaxPool", "padding"],
        ),
        Case(
            "another axis",
            |m| set(m, "Softmax", "axis", 2, &[], b""),
            ["operator Softmax", "axis"],
        ),
        Case(
            "asymmetric weights",
            |m| constant(m, "conv2d.weights.zero").raw_data[0] = 1,
            ["operator DequantizeLinear", "zero point"],
        ),
        Case(
            "a weight of -128",
            |m| constant(m, "conv2d.weights").raw_data[0] = 0x80,
            ["operator Conv", "-128"],
        ),
        Case(
            "a bias on another grid",
            |m| constant(m, "conv2d.bias.step").raw_data[2] ^= 1,
            ["operator Conv", "bias whose scale"],
        ),
        Case(
            "too few values",
            |m| constant(m, "conv2d.weights").raw_data.truncate(9),
            ["constant", "values"],
        ),
        Case(
            "a shape beyond all memory",
            |m| constant(m, "conv2d.weights").dims = vec![i64::MAX, i64::MAX, 3, 3],
            ["constant conv2d.weights", "values"],
        ),
        Case(
            "a negative shape",
            |m| constant(m, "conv2d.weights").dims[0] = -1,
            ["constant", "shape"],
        ),
        Case(
            "a missing input",
            |m| node(m, "MaxPool").input[0] = "nowhere".into(),
            ["operator MaxPool", "nowhere"],
        ),
        Case(
            "a cycle",
            |m| node(m, "Conv").input[0] = "p_re_lu_2.real".into(),
            ["operator Conv", "made by nothing before it"],
        ),
        Case(
            "a name made twice",
            |m| node(m, "Softmax").output[0] = "conv2d.out".into(),
            ["operator Softmax", "made twice"],
        ),
        Case(
            "an output of nobody",
            |m| m.graph.as_mut().unwrap().output[0].name = "ghost".into(),
            ["nothing makes", "ghost"],
        ),
        Case(
            "an older operator set",
            |m| m.opset_import[0].version = 12,
            ["operator set 12", "13"],
        ),
    ];
    let good = ModelProto::decode(onnx("mtcnn-pnet").as_slice()).unwrap();
    let mut wrong = Vec::new();
    for Case(name, change, expected) in cases {
        let mut model = good.clone();
        change(&mut model);
        let said = said(&model);
        if !expected.iter().all(|part| said.contains(part)) {
            wrong.push(format!("{name}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn damaged_files_give_errors_not_panics() {
    let good = onnx("mtcnn-pnet");
    for cut in (0..good.len()).step_by(97) {
        assert!(compile("cut", good[..cut].to_vec()).is_err(), "{cut}");
    }
    let mut refused = 0;
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        // A plan that came out can be read: `Builder::finish` reads it.
        refused += usize::from(compile("flipped", bytes).is_err());
    }
    assert!(refused > good.len() / 10, "{refused}");
}

#[test]
fn what_the_compiler_refuses_runs_in_f32() {
    let mut model = ModelProto::decode(onnx("mtcnn-pnet").as_slice()).unwrap();
    node(&mut model, "Softmax").op_type = "Sigmoid".into();
    node(&mut model, "Sigmoid").attribute.clear();
    let mut net = Net::from_onnx("sigmoid", &model.encode_to_vec()).unwrap();
    assert!(!net.is_int8());
    let picture = Array4::<u8>::from_elem((2, 12, 12, 3), 99);
    let outputs = net.run(picture.view()).unwrap();
    assert_eq!(outputs[0].shape(), [2, 2, 1, 1]);
    assert!(outputs[0].iter().all(|p| (0.0..=1.0).contains(p)));
}
