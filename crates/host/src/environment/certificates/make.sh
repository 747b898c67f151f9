#!/bin/sh
# Makes the files beside it with OpenSSL 3. Their key is known to everyone; no app trusts it.
set -eu
cd "$(dirname "$0")"
word="secret word"
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.tmp -out authority.tmp -days 36500 -subj "/CN=authority" 2>/dev/null
openssl req -newkey rsa:2048 -nodes -keyout app.tmp -out request.tmp -subj "/CN=app" 2>/dev/null
echo "basicConstraints=CA:FALSE" > extensions.tmp
openssl x509 -req -in request.tmp -CA authority.tmp -CAkey key.tmp -days 36500 -extfile extensions.tmp -out leaf.tmp 2>/dev/null
cat app.tmp leaf.tmp authority.tmp > plain.pem
set -- -export -inkey app.tmp -in leaf.tmp -certfile authority.tmp
openssl pkcs12 "$@" -passout "pass:$word" -out modern.pfx
openssl pkcs12 "$@" -passout "pass:$word" -legacy -out legacy.pfx
openssl pkcs12 "$@" -passout "pass:" -out without-password.pfx
openssl pkcs12 -export -nokeys -in leaf.tmp -passout "pass:$word" -out without-key.pfx
openssl pkcs8 -topk8 -in app.tmp -passout "pass:$word" -out encrypted.tmp
cat leaf.tmp authority.tmp encrypted.tmp > encrypted.pem
# As `openssl req -newkey` of OpenSSL 3.0 encrypts a key.
openssl pkcs8 -topk8 -v2 des3 -in app.tmp -passout "pass:$word" -out 3des.tmp
cat 3des.tmp leaf.tmp authority.tmp > encrypted-3des.pem
openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES -in app.tmp -passout "pass:$word" -out pbes1.tmp
cat pbes1.tmp leaf.tmp > pbes1.pem
openssl rsa -traditional -aes256 -in app.tmp -passout "pass:$word" -out traditional.tmp 2>/dev/null
cat traditional.tmp leaf.tmp > traditional.pem
head -c 1000 modern.pfx > cut.pfx
head -c 3500 encrypted.pem > cut.pem
rm ./*.tmp
