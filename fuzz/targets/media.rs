//! Any bytes as an image, a sound or a film, declared to be one of several things.

/// It reads the same raw and in base64, and what is taken has pixels if it is a picture.
pub(crate) fn run(data: &[u8]) {
    tollgate_layers::protocol::media::fuzz_media(data);
}
