// Speaks the contract of tasks without any library.
const { execFileSync } = require('child_process');

// What a task's library does when it is loaded: secrets leave the environment.
const vault = {};
for (const name of Object.keys(process.env)) {
  if (/^(INPUT_|SECRET_|ENDPOINT_AUTH_|VSTS_TASKVARIABLE_)/.test(name)) {
    vault[name] = process.env[name];
    delete process.env[name];
  }
}

console.log('who ' + vault.INPUT_WHO + ', folder ' + vault.INPUT_FOLDER + ', cwd ' + process.cwd());
console.log('from before the job: ' + vault.VSTS_TASKVARIABLE_MARK + ' and ' + vault.VSTS_TASKVARIABLE_HIDDEN.length);
console.log('secret variables ' + process.env.VSTS_SECRET_VARIABLES + ', key has ' + vault.SECRET_MY_KEY.length);
console.log('password ' + vault.INPUT_PASSWORD);
const child = execFileSync(process.execPath, ['-e', 'console.log(JSON.stringify(process.env))']).toString();
for (const secret of [vault.SECRET_MY_KEY, vault.ENDPOINT_AUTH_PARAMETER_SYSTEMVSSCONNECTION_ACCESSTOKEN]) {
  console.log(child.includes(secret) ? 'a child sees a secret' : 'no child sees it');
}
console.log('##vso[task.setvariable variable=greeting]hello ' + vault.INPUT_WHO);
console.log('##vso[task.setvariable variable=plain;]set by a task');
console.log('##vso[task.prependpath]' + __dirname);
console.error('to the error stream');
console.log('##vso[task.complete result=' + (vault.INPUT_WHO === 'nobody' ? 'Failed' : 'Succeeded') + ';]done');
