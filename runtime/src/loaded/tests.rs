//! Noise as programs are given it.
#![allow(clippy::unwrap_used)]

use graphs::{Model, Op};

use super::*;
use crate::draws::Kind;
use crate::engine::tests::engines;
use crate::predict::each_draw;
use crate::sessions::Sessions;

/// probabilities = images + noise, `[batch, 3]`, which is each image's own.
fn noisy(batch: usize) -> Program {
    let mut graph = Graph::new("noisy");
    let fact = Fact::new(DType::F32, &[batch, 3]);
    let images = graph.input(names::IMAGES, Role::Data, fact.clone());
    let noise = graph.input("layer.noise", Role::ImageNoise, fact.clone());
    let sum = graph.op("sum", Op::new("Add"), &[Some(images), Some(noise)], vec![fact]);
    graph.output(names::PROBABILITIES, sum.into());
    Program::new(Model::new(graph), &[])
}

/// The noise of each of `size` rows under two draws, one after another.
fn noises(engine: &dyn Engine, size: usize, mut draws: Draws) -> [Vec<Vec<f32>>; 2] {
    let compile = |_, batch| Ok(noisy(batch));
    let mut sessions = Sessions::new(engine, &compile);
    let mut state = engine.state();
    state.put(names::IMAGES, &Tensor::full(&[size, 3], 0f32).unwrap()).unwrap();
    let mut found = Vec::new();
    each_draw(&mut sessions, &state, size, 2, &mut draws, |values, _| {
        found.push(values.chunks(3).map(<[f32]>::to_vec).collect());
    })
    .unwrap();
    found.try_into().unwrap()
}

#[test]
fn noise_of_an_image_is_its_own_in_whatever_batch_it_is() {
    for engine in engines() {
        let of = |size, indices: &[usize]| {
            let mut draws = Draws::new(7, "judge", 0);
            draws.show(indices);
            noises(&*engine, size, draws)
        };
        let ([first, second], [again, later]) = (of(3, &[5, 2, 9]), of(4, &[9, 4, 5]));
        assert_eq!([&again[0], &again[2]], [&first[2], &first[0]]);
        assert_eq!([&later[0], &later[2]], [&second[2], &second[0]]);
        // Beyond the images the first comes again.
        assert_eq!(again[3], again[0]);
        let others = [&first[1], &first[2], &second[0], &again[1]];
        assert!(others.iter().all(|other| **other != first[0]), "{others:?}");
        let mut mean = Draws::new(7, "judge", 0).of(Kind::Mean);
        mean.show(&[5]);
        assert_eq!(noises(&*engine, 1, mean)[0], [[0.0; 3]]);
    }
}
