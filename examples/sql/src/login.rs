//! How a token goes into the login of a connection to SQL Server: the feature extension FEDAUTH of LOGIN7.
//!
//! [MS-TDS] 2.2.6.4, FEDAUTH feature extension: the feature's id, the length of its data, one byte that says that a token
//! follows and was asked for, and the token in UTF-16 behind its length in bytes, numbers and letters with the lower byte
//! first. The extensions end with 0xFF. The server must have said in its PRELOGIN that it wants FEDAUTH, and the connection
//! must be encrypted: everyone who reads the login has the token.
//!
//! [MS-TDS]: https://learn.microsoft.com/openspecs/windows_protocols/ms-tds

/// The extension that presents a token, and the end of the extensions
///
/// # Errors
///
/// The token takes more than 64 KiB in a login, which none of Entra's does.
pub(crate) fn federated_authentication(token: &str) -> Result<Vec<u8>, String> {
    let token: Vec<u8> = token.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let token_length = u16::try_from(token.len()).map_err(|_| "the token takes more than 64 KiB")?;
    let (token_length, data_length) = (u32::from(token_length), u32::from(token_length) + LIBRARY_AND_LENGTH);
    let mut feature = vec![FEDAUTH];
    feature.extend(data_length.to_le_bytes());
    feature.push(SECURITY_TOKEN << 1 | ECHO);
    feature.extend(token_length.to_le_bytes());
    feature.extend(token);
    feature.push(END);
    Ok(feature)
}

const FEDAUTH: u8 = 0x02;
/// `bFedAuthLibrary`, above the lowest bit.
const SECURITY_TOKEN: u8 = 0x01;
/// `fFedAuthEcho`: the server has said in its PRELOGIN that it wants FEDAUTH.
const ECHO: u8 = 0x01;
/// The bytes of the feature's data before the token.
const LIBRARY_AND_LENGTH: u32 = 5;
const END: u8 = 0xff;

#[cfg(test)]
mod tests {
    use tiberius::{AuthMethod, Client, Config, EncryptionLevel};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio_util::compat::TokioAsyncReadCompatExt as _;

    use super::*;

    #[tokio::test]
    async fn a_client_of_sql_server_presents_a_token_in_the_same_bytes() {
        let (client, mut server) = duplex(1 << 16);
        let mut config = Config::new();
        config.authentication(AuthMethod::aad_token(TOKEN));
        config.encryption(EncryptionLevel::NotSupported);
        let connecting = Client::connect(config, client.compat());
        let listening = async {
            message(&mut server).await;
            server.write_all(PRELOGIN).await.unwrap();
            message(&mut server).await
        };
        let login = tokio::select! {
            login = listening => login,
            _ = connecting => panic!("the client gave up"),
        };
        let feature = federated_authentication(TOKEN).unwrap();
        let place = login.windows(feature.len()).position(|bytes| bytes == feature);
        assert!(place.is_some(), "{login:02x?} has not {feature:02x?}");
    }

    /// One message of one packet: eight bytes with its length, and its content
    async fn message(server: &mut tokio::io::DuplexStream) -> Vec<u8> {
        let mut head = [0; 8];
        server.read_exact(&mut head).await.unwrap();
        let mut content = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]])) - head.len()];
        server.read_exact(&mut content).await.unwrap();
        content
    }

    const TOKEN: &str = "header.claims.signature";
    /// A server's answer: version 15, no encryption, and that it wants FEDAUTH.
    const PRELOGIN: &[u8] = &[
        0x04, 0x01, 0x00, 0x20, 0, 0, 1, 0, // A whole answer of 32 bytes
        0x00, 0, 16, 0, 6, // VERSION at 16
        0x01, 0, 22, 0, 1, // ENCRYPTION at 22
        0x06, 0, 23, 0, 1, // FEDAUTHREQUIRED at 23
        0xff, 15, 0, 0, 0, 0, 0, 2, 1,
    ];
}
