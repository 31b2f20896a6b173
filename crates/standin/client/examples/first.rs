//! How does a program write its first key? `cargo run --example first -- basic-pd.default:2379`
//!
//! The middle of `main` is what README.md shows.

use tikv_client::RawClient;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pd = std::env::args().nth(1).ok_or("usage: first HOST:PORT")?;
    let client = RawClient::new(vec![pd]).await?;
    client.put("hello".to_owned(), "world".to_owned()).await?;
    let value = client.get("hello".to_owned()).await?;
    assert_eq!(value, Some(b"world".to_vec()), "the key that was just written");
    Ok(())
}
