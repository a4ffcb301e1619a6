// A relying party by express-openid-connect, of which only the back-channel logout endpoint is used: /backchannel-logout. It finds the
// OP's document and keys where they are for everybody, and prints a line for each logout token that it has accepted.
//
//     node receiver.mjs ISSUER CLIENT_ID PORT
import dns from 'node:dns';

const [issuer, clientID, port] = process.argv.slice(2);

// The names of the test are known to nobody: all are on this machine.
dns.lookup = (host, options, callback) => {
	const done = callback ?? options;
	if (options?.all) {
		done(null, [{address: '127.0.0.1', family: 4}]);
	} else {
		done(null, '127.0.0.1', 4);
	}
};

const {default: express} = await import('express');
const {default: connect} = await import('express-openid-connect');

const app = express();
app.use(connect.auth({
	issuerBaseURL: issuer,
	baseURL: `http://127.0.0.1:${port}`,
	clientID,
	secret: 'of the test, and of no use elsewhere',
	authRequired: false,
	idTokenSigningAlg: 'RS256',
	backchannelLogout: {
		store: {get: (_id, done) => done(), set: (_id, _value, done) => done(), destroy: (_id, done) => done()},
		onLogoutToken: (token) => console.log('told ' + JSON.stringify({iss: token.iss, aud: token.aud, sub: token.sub ?? '', sid: token.sid ?? ''})),
	},
}));
app.listen(Number(port), '127.0.0.1', () => console.log('listening'));
