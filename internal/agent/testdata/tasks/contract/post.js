console.log('after the job: ' + process.env.VSTS_TASKVARIABLE_MARK + ', ' + process.env.AGENT_JOBSTATUS);
