console.log('before the job for ' + process.env.INPUT_WHO);
console.log('##vso[task.settaskvariable variable=mark]a mark');
console.log('##vso[task.settaskvariable variable=hidden;issecret=true]hidden-of-the-task');
