//! Small files, written by hand.

use super::*;

/// A length-delimited field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).expect("tests write short fields");
    assert!(length < 0x80);
    [&[number << 3 | 2, length], content].concat()
}

fn port_of(name: &str, elem_type: u8, dims: &[Vec<u8>]) -> Vec<u8> {
    let shape: Vec<u8> = dims.iter().flat_map(|dim| field(1, dim)).collect();
    let tensor = [vec![0x08, elem_type], field(2, &shape)].concat();
    [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
}

fn fixed(size: u8) -> Vec<u8> {
    vec![0x08, size]
}

fn model(graph: &[Vec<u8>]) -> Vec<u8> {
    field(7, &graph.concat())
}

fn ports_of(file: &[u8]) -> Result<Ports, LoadError> {
    read(file)
}

#[test]
fn names_types_and_dimensions_are_those_of_the_file() {
    let file = model(&[
        field(11, &port_of("ids", 7, &[field(2, b"N"), fixed(4), vec![]])),
        field(12, &port_of("score", 1, &[field(2, b"N")])),
    ]);
    let ports = ports_of(&file).expect("a good file");
    let dims = vec![Dim::Symbolic("N".into()), Dim::Fixed(4), Dim::Symbolic("ids_2".into())];
    assert_eq!(ports.inputs, [Port { name: "ids".into(), dtype: Dtype::Int64, dims }]);
    let dims = vec![Dim::Symbolic("N".into())];
    assert_eq!(ports.outputs, [Port { name: "score".into(), dtype: Dtype::Fp32, dims }]);
}

#[test]
fn a_weight_that_is_listed_as_an_input_is_no_input() {
    let file = model(&[
        field(5, &[vec![0x08, 1], field(8, b"w"), field(9, &[0; 4])].concat()),
        field(11, &port_of("x", 1, &[fixed(1)])),
        field(11, &port_of("w", 1, &[fixed(1)])),
        field(12, &port_of("y", 1, &[fixed(1)])),
    ]);
    let names: Vec<_> = ports_of(&file).expect("a good file").inputs.into_iter().map(|port| port.name).collect();
    assert_eq!(names, ["x".into()]);
}

#[test]
fn a_tensor_may_not_claim_more_elements_than_bytes() {
    // dims 127 * 127 with four bytes of data
    let file = model(&[field(5, &[vec![0x08, 127, 0x08, 127], field(9, &[0; 4])].concat())]);
    assert!(matches!(ports_of(&file), Err(LoadError::Format(why)) if why.contains("claims more")));
}

#[test]
fn a_packed_list_with_an_endless_varint_is_refused() {
    let file = model(&[field(5, &field(7, &[0xff; 12]))]);
    assert!(matches!(ports_of(&file), Err(LoadError::Format(why)) if why.contains("varint")));
}

#[test]
fn deep_nesting_is_refused() {
    let mut graph = Vec::new();
    for _ in 0..15 {
        graph = field(1, &field(5, &field(6, &graph)));
    }
    assert!(matches!(ports_of(&model(&[graph])), Err(LoadError::Large { bound: 32, .. })));
}

#[test]
fn weights_outside_the_file_are_refused() {
    let file = model(&[field(5, &field(13, b""))]);
    assert!(matches!(ports_of(&file), Err(LoadError::Format(why)) if why.contains("another file")));
}

#[test]
fn two_graphs_a_double_name_and_a_negative_dimension_are_refused() {
    let port = port_of("x", 1, &[fixed(1)]);
    let one = model(&[field(11, &port), field(12, &port)]);
    assert!(ports_of(&one).is_ok());
    assert!(ports_of(&[one.clone(), one].concat()).is_err());
    assert!(ports_of(&model(&[field(11, &port), field(11, &port), field(12, &port)])).is_err());
    let minus_one = vec![0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let bad = port_of("x", 1, &[minus_one]);
    assert!(ports_of(&model(&[field(11, &bad), field(12, &port)])).is_err());
}

#[test]
fn a_type_that_the_engine_would_narrow_is_refused_by_name() {
    let file = model(&[field(11, &port_of("x", 11, &[])), field(12, &port_of("y", 1, &[]))]);
    let expected = LoadError::Type { port: "x".into(), dtype: "DOUBLE".into() };
    assert_eq!(ports_of(&file).err(), Some(expected));
}
