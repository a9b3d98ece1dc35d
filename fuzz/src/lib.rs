//! What the fuzz targets share. Inputs are text as far as can be, so that seeds and reproducers can be read and
//! written by hand; [`message::Message`] is the form that most of them have.

pub mod gateway;
pub mod json;
pub mod message;
pub mod record;
