DROP TABLE oauth_tokens, encrypted_credentials;
